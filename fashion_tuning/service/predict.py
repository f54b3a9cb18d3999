"""Categories for photo files, most likely first; a file that can't be read does not stop the others."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fashion_tuning.data.listing import LeftOut, is_folder, list_files
from fashion_tuning.model.classifier import Classifier

STDIN = Path("-")


@dataclass(frozen=True)
class Prediction:
    """What the model says of one file.

    Args:
      ranked: (category, probability), most likely first; empty where the file can't be read.
      seconds: Reading, resizing and the network together.
      problem: Why it can't be read; "" where it can.
    """

    path: Path
    ranked: tuple[tuple[str, float], ...]
    seconds: float
    problem: str = ""


def predict(classifier: Classifier, paths: Iterable[Path], *, top: int) -> Iterator[Prediction]:
    """One prediction per file, as soon as it is there; "-" is standard input; read-only.

    Args:
      top: How many categories to name.
    """
    for path in paths:
        started = time.perf_counter()
        (answer,) = classifier.answers([sys.stdin.buffer.read() if path == STDIN else path])
        seconds = time.perf_counter() - started
        if answer.probabilities is None:
            yield Prediction(path, (), seconds, answer.problem)
            continue
        order = answer.probabilities.argsort()[::-1][:top]
        ranked = tuple((classifier.class_names[n], float(answer.probabilities[n])) for n in order)
        yield Prediction(path, ranked, seconds)


def photo_files(named: Sequence[Path]) -> tuple[list[Path], list[LeftOut]]:
    """List the files that are named, and below folders what may be a photo; and what is none.

    Raises:
      DataError: A folder can't be read.
    """
    found: list[Path] = []
    left_out: list[LeftOut] = []
    for path in named:
        if is_folder(path):
            listing = list_files(path)
            found += [path / inside for inside in listing.files]
            left_out += [LeftOut(str(path / entry.path), entry.reason) for entry in listing.left_out]
        else:
            found.append(path)
    return found, left_out
