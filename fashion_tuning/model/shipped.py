"""The file of a model that ships, and the card inside it; needs Keras alone, wherever MLflow loads it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashion_tuning.data.decode import Sizing
from fashion_tuning.data.views import View
from fashion_tuning.model.checkpoint import BrokenCheckpointError
from fashion_tuning.model.exact import exact_settings

if TYPE_CHECKING:
    import keras

# Keras keeps its own version and date in this member of a .keras file, and reads no more of it than that.
METADATA = "metadata.json"
OURS = "fashion_tuning"


@dataclass(frozen=True)
class ModelCard:
    """What a shipped model needs to be used: kept inside its file.

    Args:
      class_names: In the order of the probabilities.
      image_size: Pixels a side of its input.
      interpolation, aspect: How photos are resized to that, see `data.decode.Sizing`.
      views: Names of the views that it was trained with, see `data.views.View`; over them answers may be averaged.
      average: Whether they are, unless somebody says otherwise: its figures are of such answers.
      unsure_below: Highest probabilities below this are no sure answers, see `measures.sure_from`; None: not on record.
    """

    class_names: tuple[str, ...]
    image_size: int
    interpolation: str
    aspect: str = "squash"
    views: tuple[str, ...] = ()
    average: bool = False
    unsure_below: float | None = None

    @property
    def sizing(self) -> Sizing:
        return Sizing(self.image_size, self.interpolation, self.aspect)


@exact_settings()
def load(path: Path) -> tuple[keras.Model, ModelCard]:
    """A shipped model and its card; read-only.

    Raises:
      BrokenCheckpointError: The file is missing, damaged, or no shipped model.
    """
    import keras

    try:
        card = read_card(path)
        return keras.saving.load_model(path, safe_mode=True, compile=False), card
    except BrokenCheckpointError:
        raise
    except Exception as error:  # as above
        words = str(error).strip().splitlines()
        raise BrokenCheckpointError(f"{path}: {type(error).__name__}: {words[0][:120] if words else ''}") from error


def read_card(path: Path) -> ModelCard:
    """The card inside a shipped model's file; read-only.

    Raises:
      BrokenCheckpointError: The file is missing, damaged, or no shipped model.
    """
    try:
        with zipfile.ZipFile(path) as content:
            entries: dict[str, Any] = json.loads(content.read(METADATA))[OURS]
        names: Sequence[str] = entries["class_names"]
        # Files of before there were aspects, views, averages and thresholds have none.
        known = ("image_size", "interpolation", "aspect", "average", "unsure_below")
        fields = {name: entries[name] for name in known if name in entries}
        card = ModelCard(tuple(names), **fields, views=tuple(entries.get("views", ())))
        _ = card.sizing, [View.parse(name) for name in card.views]  # refuses what is none
        return card
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
        raise BrokenCheckpointError(f"{path} is no model of this program: {error}") from error
