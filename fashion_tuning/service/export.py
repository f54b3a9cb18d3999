"""A registered model in other formats, each compared with Keras on validation photos and timed beside it."""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from fashion_tuning.errors import ParityError, UsageError
from fashion_tuning.files import disk_errors
from fashion_tuning.model.exact import exact_settings
from fashion_tuning.model.exporting import FORMATS, export_model, load_runner, require_exporter
from fashion_tuning.model.shipped import load
from fashion_tuning.paths import make_legible

TOLERANCE: Final = 1e-4  # of probabilities, in float32
BATCH_SIZES: Final = (1, 16)
ROUNDS: Final = 5


@dataclass(frozen=True)
class Speed:
    """Images/s at one batch size, and of Keras in the same run."""

    batch_size: int
    images_per_second: float
    keras_images_per_second: float


@dataclass(frozen=True)
class Export:
    """An exported model.

    Args:
      path: A file, or a folder for saved_model.
      largest_difference: Of probabilities to Keras, over `num_images` photos.
    """

    format: str
    path: Path
    num_bytes: int
    largest_difference: float
    num_images: int
    speeds: tuple[Speed, ...]


def require_libraries(format: str) -> None:
    """Makes sure that a format can be written and run here.

    Raises:
      UsageError: No such format, Keras's backend can't write it, or a library is missing.
    """
    if format not in FORMATS:
        raise UsageError(f"format {format!r}", expected=f"one of {', '.join(FORMATS)}")
    require_exporter()
    if any(importlib.util.find_spec(name) is None for name in FORMATS[format].modules):
        libraries = FORMATS[format].distributions
        raise UsageError(
            f"format {format} needs {' and '.join(libraries)}, not all of which is installed",
            action=f"pip install {' '.join(libraries)}",
        )


def export(model_file: Path, format: str, target: Path, *, pixels: np.ndarray) -> Export:
    """Writes a model in another format and compares it with Keras.

    Args:
      target: A path that does not exist yet.
      pixels: (images, image_size, image_size, 3) uint8, photos to compare on.

    Raises:
      UsageError: The target exists or has another ending, or the format's library is missing.
      DiskError: It can't be written.
      ParityError: The exported model answers differently, or can't be made here. Nothing is left behind.
    """
    require_libraries(format)
    suffix = FORMATS[format].suffix
    if target.suffix != suffix:
        raise UsageError(f"{target} for format {format}", expected=f"a name that ends with {suffix or 'no suffix'}")
    if make_legible(target) != str(target):  # no exporter can write it
        raise UsageError(f"{make_legible(target)} is no name in UTF-8", action="name another with --output")
    if target.exists():
        raise UsageError(f"{target} exists", expected="a new path", action="name another with --output")
    model, _ = load(model_file)
    with disk_errors(target, instead="name another folder with --output"):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            found = _made(model, format, target, pixels=pixels)
        except BaseException:
            _remove(target)
            raise
    return found


@exact_settings()
def _made(model: Any, format: str, target: Path, *, pixels: np.ndarray) -> Export:
    try:
        export_model(model, format, target)
        run = load_runner(format, target)
    except OSError:
        raise
    except Exception as error:  # exporters and runners each have kinds of their own
        raise ParityError(
            f"format {format} can't be made here: {type(error).__name__}: {str(error)[:200]}",
            action=f"use another format, or other versions of {', '.join(FORMATS[format].distributions)}",
        ) from error

    def keras_run(batch: np.ndarray) -> np.ndarray:
        return np.asarray(model.predict_on_batch(batch))

    starts = range(0, len(pixels), BATCH_SIZES[-1])
    batches = [pixels[start : start + BATCH_SIZES[-1]] for start in starts]
    largest = max(float(np.abs(run(batch) - keras_run(batch)).max()) for batch in batches)
    if not largest <= TOLERANCE:
        raise ParityError(
            f"{target} differs from the Keras model by up to {largest:.2g}",
            expected=f"at most {TOLERANCE:g} in a probability, on {len(pixels)} photos",
            action="use another format",
        )
    speeds = tuple(
        Speed(size, *_images_per_second(pixels[:size], run, keras_run)) for size in BATCH_SIZES if size <= len(pixels)
    )
    return Export(format, target, _size(target), largest, len(pixels), speeds)


def _images_per_second(batch: np.ndarray, *runs: Callable[[np.ndarray], np.ndarray]) -> list[float]:
    """Of each, the median of rounds in turn, since the speed of a shared machine drifts."""
    seconds: list[list[float]] = [[] for _ in runs]
    for run in runs:
        run(batch)
    for _ in range(ROUNDS):
        for run, taken in zip(runs, seconds, strict=True):
            started = time.perf_counter()
            run(batch)
            taken.append(time.perf_counter() - started)
    return [len(batch) / float(np.median(taken)) for taken in seconds]


def _remove(path: Path) -> None:
    for one in (path, path.with_suffix(".bin") if path.suffix == ".xml" else path):
        if one.is_dir():
            shutil.rmtree(one, ignore_errors=True)
        else:
            one.unlink(missing_ok=True)


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    if path.suffix == ".xml":
        files.append(path.with_suffix(".bin"))  # where OpenVINO puts the weights
    return sum(one.stat().st_size for one in files)
