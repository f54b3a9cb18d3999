"""What a long trial goes on from after a stop, kept with its run until the trial has come to its end."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from fashion_tuning.files import SCRATCH, disk_errors
from fashion_tuning.tracking.artifacts import artifact_folders, list_artifacts
from fashion_tuning.tracking.store import Store

STATES: Final = "resume"  # folder of artifacts
CHECKPOINTS: Final = "checkpoints"


def has_states(store: Store, run_id: str) -> bool:
    """Whether an attempt has left something to go on from; read-only."""
    return bool(list_artifacts(store, run_id, STATES))


def fetch_states(store: Store, run_id: str, *, states: Path, checkpoints: Path) -> None:
    """Copies what an attempt has left, and its checkpoints, into two folders.

    Raises:
      StoreError: It can't be had.
      DiskError: The folders can't be written.
    """
    with artifact_folders(store, run_id, STATES, CHECKPOINTS) as folder:
        for name, target in ((STATES, states), (CHECKPOINTS, checkpoints)):
            if (folder / name).is_dir():
                with disk_errors(target, instead=SCRATCH):
                    shutil.copytree(folder / name, target, dirs_exist_ok=True)


def remove_states(store: Store, run_ids: Iterable[str]) -> None:
    """Removes what attempts have left: nobody goes on from them any more."""
    for run_id in run_ids:
        if has_states(store, run_id):
            store.remove(run_id, STATES)
