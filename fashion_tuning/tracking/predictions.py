"""A trial's validation probabilities of every epoch, kept with its run, one file per seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fashion_tuning.errors import StoreError
from fashion_tuning.files import SCRATCH, disk_errors
from fashion_tuning.tracking.artifacts import artifacts
from fashion_tuning.tracking.records import TrialRecord
from fashion_tuning.tracking.store import Store


def save_predictions(path: Path, probabilities: np.ndarray, labels: np.ndarray) -> None:
    """Writes one seed's probabilities, (epochs, images, classes) float32, with the (images,) labels.

    Raises:
      DiskError: The disk refuses.
    """
    with disk_errors(path, instead=SCRATCH):
        np.savez(path, probabilities=probabilities, labels=labels)


def read_predictions(store: Store, record: TrialRecord, *, seeds: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Of a trial the kept validation probabilities, (seeds, epochs, images, classes) float32, and the (images,) labels.

    Args:
      seeds: How many of them, seed 1 first; None: all.

    Raises:
      StoreError: The artifacts are missing or can't be read.
    """
    number = seeds or int(record.parameters["seeds"])
    files = [f"predictions/seed_{seed}.npz" for seed in range(1, 1 + number)]
    with artifacts(store, record.run_id, *files) as folder:
        of_seeds, labels = [], np.empty(0)
        try:
            for file in files:
                probabilities, labels = load_predictions(folder / file)
                of_seeds.append(probabilities)
            return np.stack(of_seeds), labels
        except Exception as error:  # zipfile, zlib and numpy each meet damage in their own way
            reason = str(error) or type(error).__name__
            raise StoreError(
                f"the predictions of run {record.run_id} in {folder} can't be read: {reason}",
                action=f"fashion-tuning replay {record.run_id} --repair makes them again",
            ) from error


def load_predictions(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """One seed's kept probabilities, (epochs, images, classes) float32, and the (images,) labels.

    Raises:
      Exception: It is missing or damaged; zipfile, zlib and numpy each meet that in their own way.
    """
    with path.open("rb") as file, np.load(file) as arrays:
        return arrays["probabilities"], arrays["labels"]
