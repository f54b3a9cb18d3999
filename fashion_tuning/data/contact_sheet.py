"""What the views of some photos look like, in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from fashion_tuning.data.decode import Sizing, decode
from fashion_tuning.data.views import IDENTITY, View

TILE: Final = 120  # pixels a side
_GAP: Final = 4


def draw_views(photos: Sequence[tuple[Path, str]], sizing: Sizing, views: Sequence[View]) -> Image.Image:
    """One row per (path, sha256) photo: itself as the network sees it, then its views in their order.

    Raises:
      UnreadableImageError: A photo can't be read.
    """
    columns = (IDENTITY, *views)
    step = TILE + _GAP
    sheet = Image.new("RGB", (len(columns) * step + _GAP, len(photos) * step + _GAP), "white")
    for row, (path, sha256) in enumerate(photos):
        pixels = decode(path, sizing)
        for column, view in enumerate(columns):
            tile = Image.fromarray(np.ascontiguousarray(view.apply(pixels, sha256)))
            sheet.paste(tile.resize((TILE, TILE), Image.Resampling.LANCZOS), (column * step + _GAP, row * step + _GAP))
    return sheet
