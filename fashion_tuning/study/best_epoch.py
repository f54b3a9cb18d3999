"""What a trial keeps of its best epoch, by which its model is made and judged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fashion_tuning.errors import StoreError
from fashion_tuning.measures import sure_from
from fashion_tuning.model.checkpoint import BrokenCheckpointError
from fashion_tuning.tracking.artifacts import artifacts
from fashion_tuning.tracking.predictions import read_predictions
from fashion_tuning.tracking.records import TrialRecord
from fashion_tuning.tracking.store import Store


@contextmanager
def best_heads(store: Store, record: TrialRecord, *, seeds: int | None = None) -> Iterator[list[Path]]:
    """The checkpoints of a trial's best epoch, seed 1 first; read-only.

    Args:
      seeds: Of how many of them; None: of all.

    Raises:
      StoreError: One of them turns out to be damaged while they are read.
    """
    epoch = int(record.metrics["best_epoch"])
    number = seeds or int(record.parameters["seeds"])
    files = [f"checkpoints/seed_{seed}/epoch_{epoch:02d}.keras" for seed in range(1, 1 + number)]
    with artifacts(store, record.run_id, *files) as folder:
        try:
            yield [folder / file for file in files]
        except BrokenCheckpointError as error:
            raise StoreError(
                f"a checkpoint of run {record.run_id} can't be read: {error}",
                action=f"fashion-tuning replay {record.run_id} --repair makes it again",
            ) from error


def unsure_below(store: Store, winner: TrialRecord) -> float:
    """Below which probability the model that ships is not sure, by its kept validation predictions; read-only.

    Raises:
      StoreError: They can't be read.
    """
    probabilities, labels = read_predictions(store, winner, seeds=1)
    return sure_from(probabilities[0, int(winner.metrics["best_epoch"]) - 1], labels)
