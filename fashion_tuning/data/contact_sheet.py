"""What the views of some photos look like, in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image

TILE: Final = 120  # pixels a side
_GAP: Final = 4


def draw_views(views: Sequence[np.ndarray]) -> Image.Image:
    """One row per photo, one column per view.

    Args:
      views: Of each view the photos' pixels, (photos, side, side, 3) uint8 RGB.
    """
    step = TILE + _GAP
    sheet = Image.new("RGB", (len(views) * step + _GAP, len(views[0]) * step + _GAP), "white")
    for column, photos in enumerate(views):
        for row, pixels in enumerate(photos):
            tile = Image.fromarray(pixels).resize((TILE, TILE), Image.Resampling.LANCZOS)
            sheet.paste(tile, (column * step + _GAP, row * step + _GAP))
    return sheet
