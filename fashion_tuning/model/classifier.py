"""A shipped model in use: photos as they come, in whatever form, and class probabilities out.

MLflow loads this module for `mlflow.pyfunc.load_model`, see `_load_pyfunc`; so it stays light.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fashion_tuning.backend import choose_backend
from fashion_tuning.data.decode import MAX_PIXELS, UnreadableImageError, from_array, open_rgb, read_content, resize
from fashion_tuning.data.views import View

BATCH_SIZE = 16
COLUMN = "image"

Photo = Path | bytes | np.ndarray


@dataclass(frozen=True)
class Answer:
    """What the model says of one photo.

    Args:
      probabilities: (classes,) float32; None where the photo can't be read.
      problem: Why not; "" where it can.
    """

    probabilities: np.ndarray | None
    problem: str = ""


@dataclass(frozen=True)
class Prepared:
    """A photo as the model takes it.

    Args:
      pixels: (image_size, image_size, 3) uint8.
      sha256: Of its file, which its views are drawn from; "" where nothing is drawn.
    """

    pixels: np.ndarray
    sha256: str


class Classifier:
    """A shipped model, loaded once.

    Args:
      path: A .keras file that model/whole.py wrote.
      average_views: Average its probabilities over each photo and the views that it was trained with; None: where
        the model's own figures are such averages.
      runner: An export of this file to compute with in Keras's place, (batch, size, size, 3) uint8 -> (batch, classes).

    Raises:
      BrokenCheckpointError: The file is no such model.
      UsageError: Keras has no backend to run on.
      ValueError: It was trained with no views.
    """

    def __init__(
        self,
        path: Path,
        *,
        average_views: bool | None = None,
        runner: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        choose_backend()  # where MLflow loads this, no command line has
        from fashion_tuning.model.exact import exact_settings
        from fashion_tuning.model.shipped import load, read_card

        if runner is None:
            model, card = load(path)
            runner = exact_settings()(model.predict_on_batch)  # Keras lays its graph out at the first call
        else:
            card = read_card(path)
        self._run = runner
        self.class_names = card.class_names
        self.sizing = card.sizing
        averages = card.average if average_views is None else average_views
        self._views = [View.parse(name) for name in card.views] if averages else []
        if average_views and not self._views:
            raise ValueError(f"{path} was trained without views")

    @property
    def num_views(self) -> int:
        """How many views of a photo an answer is the mean of; 1: the photo alone."""
        return 1 + len(self._views)

    def answers(self, photos: Iterable[Photo]) -> Iterator[Answer]:
        """One answer per photo, in order; a photo that can't be read does not stop the others."""
        batch: list[Photo] = []
        for photo in photos:
            batch.append(photo)
            if len(batch) == BATCH_SIZE:
                yield from self._answer(batch)
                batch = []
        if batch:
            yield from self._answer(batch)

    def prepare(self, photo: Photo, *, max_pixels: int = MAX_PIXELS) -> Prepared:
        """A photo as the model takes it; safe in any thread.

        Raises:
          UnreadableImageError: It is no usable photo.
        """
        if isinstance(photo, Path):  # once: a pipe can't be read again
            photo = read_content(photo)
        pixels = self.pixels(photo, max_pixels=max_pixels)
        return Prepared(pixels, _sha256(photo) if self._views else "")

    def answer(self, prepared: Sequence[Prepared]) -> np.ndarray:
        """(photos, classes) float32: what the model says of one photo or more, averaged where it does so."""
        pixels = np.stack([one.pixels for one in prepared])
        found = [self.probabilities(pixels)]
        for view in self._views:
            changed = np.stack([view.apply(one.pixels, one.sha256) for one in prepared])
            found.append(self.probabilities(changed))
        return np.asarray(np.mean(found, axis=0, dtype=np.float32)) if self._views else found[0]

    def pixels(self, photo: Photo, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
        """(image_size, image_size, 3) uint8: a photo as the model takes it.

        Raises:
          UnreadableImageError: It is no usable photo.
        """
        if isinstance(photo, list):  # what MLflow makes of an array of arrays
            photo = np.asarray(photo, np.uint8)
        if isinstance(photo, np.ndarray):
            image = from_array(photo)
        else:
            image = open_rgb(photo if isinstance(photo, Path) else io.BytesIO(photo), max_pixels=max_pixels)
        return resize(image, self.sizing)

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """(batch, image_size, image_size, 3) uint8 -> (batch, classes) float32."""
        return np.asarray(self._run(pixels), np.float32)

    def _answer(self, photos: Sequence[Photo]) -> Iterator[Answer]:
        read: list[Prepared] = []
        problems: list[str] = []
        for photo in photos:
            try:
                read.append(self.prepare(photo))
                problems.append("")
            except UnreadableImageError as error:
                problems.append(error.reason)
        found = iter(self.answer(read) if read else ())
        for problem in problems:
            yield Answer(None, problem) if problem else Answer(next(found))


def _sha256(photo: bytes | np.ndarray) -> str:
    """Of a photo's file, as in a manifest; of an array its bytes."""
    return hashlib.sha256(photo if isinstance(photo, bytes) else np.asarray(photo, np.uint8).tobytes()).hexdigest()


class _Pyfunc:
    """What MLflow calls: encoded images or arrays in, one row of probabilities per image out."""

    def __init__(self, path: Path) -> None:
        self._classifier = Classifier(path)

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:  # noqa: ARG002 - MLflow's own
        """A table with one column per class and one row per image.

        Args:
          model_input: A table with a column "image": encoded photos as bytes (JPEG, PNG, ...), or uint8 arrays
            (height, width, channels) of any size. MLflow makes it of {"image": [...]} as well.

        Raises:
          ValueError: An image can't be read.
        """
        import pandas as pd

        rows = []
        for number, answer in enumerate(self._classifier.answers(model_input[COLUMN].tolist())):
            if answer.probabilities is None:
                raise ValueError(f"image {number}: {answer.problem}")
            rows.append(answer.probabilities)
        return pd.DataFrame(np.array(rows).reshape(len(rows), -1), columns=list(self._classifier.class_names))


def _load_pyfunc(data_path: str) -> _Pyfunc:
    """MLflow's entry (mlflow.org/docs/latest/python_api/mlflow.pyfunc.html, "loader_module")."""
    return _Pyfunc(Path(data_path))
