"""How far a trial has come: the result of each epoch, and what another process goes on from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from fashion_tuning.files import SCRATCH, disk_errors

RESUME: Final = "resume"
_CURVES = ("loss", "accuracy", "val_loss", "val_accuracy")
_STAGES = ("training", "validation", "checkpoints")


@dataclass(frozen=True)
class EpochResult:
    """What one epoch gave; arrays have one entry per seed.

    `probabilities` is (seeds, validation images, classes) float32. `checkpoints` maps a seed
    to the file just written for it; `state` is what a long trial may go on from. `seconds` tells training,
    validation and checkpoints apart.
    """

    epoch: int
    loss: np.ndarray
    accuracy: np.ndarray
    val_loss: np.ndarray
    val_accuracy: np.ndarray
    probabilities: np.ndarray
    checkpoints: Mapping[int, Path]
    seconds: Mapping[str, float]
    state: Path | None = None


def checkpoint_name(seed: int, epoch: int) -> str:
    """Where a checkpoint stands below a trial's scratch folder, and below checkpoints/ in its run."""
    return f"seed_{seed}/epoch_{epoch:02d}.keras"


def state_name(epoch: int) -> str:
    return f"epoch_{epoch:02d}.npz"


def write_state(scratch: Path, past: Sequence[EpochResult], state: Mapping[str, np.ndarray]) -> Path:
    """Writes what a trial goes on from after its last epoch so far: results of all epochs, and the trainer's state.

    Raises:
      DiskError: The disk refuses.
    """
    path = scratch / RESUME / state_name(past[-1].epoch)
    arrays = {name: np.stack([getattr(result, name) for result in past]) for name in (*_CURVES, "probabilities")}
    arrays["seconds"] = np.array([[result.seconds[stage] for stage in _STAGES] for result in past])
    num_seeds = len(past[0].loss)
    arrays["kept"] = np.array([[seed in result.checkpoints for seed in range(1, num_seeds + 1)] for result in past])
    temporary = path.with_name(f"unfinished-{path.name}")
    with disk_errors(path, instead=SCRATCH):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(temporary, allow_pickle=False, **arrays, **state)
        return temporary.replace(path)


def last_state(scratch: Path) -> tuple[list[EpochResult], Mapping[str, np.ndarray]] | None:
    """The newest state below a scratch folder that is whole, with all checkpoints it names; None without one."""
    paths = (scratch / RESUME).glob("epoch_*.npz")
    for path in sorted(paths, key=lambda one: int(one.stem.removeprefix("epoch_")), reverse=True):
        try:
            # Opened here, since numpy leaves a damaged file open.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
                arrays = {name: kept[name] for name in kept.files}
            past = [_result(scratch, arrays, place) for place in range(len(arrays["loss"]))]
        except Exception:  # zipfile, zlib and numpy each meet damage in their own way; an earlier one may be whole
            continue
        if all(checkpoint.is_file() for result in past for checkpoint in result.checkpoints.values()):
            return past, arrays
    return None


def _result(scratch: Path, arrays: Mapping[str, np.ndarray], place: int) -> EpochResult:
    epoch = place + 1
    seeds = [seed for seed, kept in enumerate(arrays["kept"][place], 1) if kept]
    return EpochResult(
        epoch=epoch,
        **{name: arrays[name][place] for name in (*_CURVES, "probabilities")},
        checkpoints={seed: scratch / checkpoint_name(seed, epoch) for seed in seeds},
        seconds=dict(zip(_STAGES, map(float, arrays["seconds"][place]), strict=True)),
    )
