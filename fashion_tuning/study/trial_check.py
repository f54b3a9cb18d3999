"""Whether a completed trial agrees with itself: values, curves, best values, predictions, checkpoints."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from fashion_tuning.hyperparameters import Value
from fashion_tuning.model.checkpoint import BrokenCheckpointError, predict_mean
from fashion_tuning.model.features import FeatureRef, verify_shards
from fashion_tuning.model.trainable import count_parameters
from fashion_tuning.study import selection
from fashion_tuning.study.inputs import shown_parameters
from fashion_tuning.study.pruning import last_epoch
from fashion_tuning.study.recorded import RecordedStudy
from fashion_tuning.tracking.artifacts import artifact_folders, artifacts
from fashion_tuning.tracking.predictions import load_predictions
from fashion_tuning.tracking.records import TrialRecord, read_curve
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.trial_run import CURVES

EXACT = 1e-12  # relative; what the same doubles give
LOSS = 1e-4  # of a loss from float32 probabilities
PROBABILITY = 1e-4  # of a checkpoint scored in one batch, on whatever machine


class TrialCheck:
    """One look at a completed trial.

    Args:
      refs: The features that it was trained and validated on, by split.

    `scores` says whether those of the validation photos are in the cache; without them checkpoints can only be read.
    After `differences` is used up, `damaged` says whether artifacts are missing or broken, and
    `num_checkpoints` how many were read.
    """

    def __init__(
        self,
        store: Store,
        recorded: RecordedStudy,
        record: TrialRecord,
        refs: Mapping[str, FeatureRef],
    ) -> None:
        self.damaged: list[str] = []
        self.num_checkpoints = 0
        self._store = store
        self._card = recorded.card
        self._train, validation = refs["train"], refs["validation"]
        self._record = record
        self._labels = validation.labels()
        there = all(all(verify_shards(one)) for one in validation.every)
        self._views = [one.array.load() for one in validation.every] if there else None
        self._seeds = range(1, recorded.card.training.seeds + 1)
        self._epochs = int(record.metrics.get("epochs_run", 0))
        self._curves: dict[str, list[float]] = {}
        self._complete = True
        self._kept: dict[int, np.ndarray] = {}

    @property
    def scores(self) -> bool:
        return self._views is not None

    def differences(self) -> Iterator[str]:
        """What does not agree, one line each."""
        yield from self._values()
        for name, value in self._record.metrics.items():
            if not math.isfinite(value) or abs(value) > 1e300:  # how MLflow keeps an infinite one
                yield f"{name} is {value}, only finite numbers may stand there"
        yield from self._read_curves()
        if self._complete:
            yield from self._means()
        predictions = {seed: f"predictions/seed_{seed}.npz" for seed in self._seeds}
        with artifacts(self._store, self._record.run_id, *predictions.values()) as folder:
            yield from self._read_predictions(folder, predictions)
        if self._complete:
            yield from self._best()
        with artifact_folders(self._store, self._record.run_id, "checkpoints") as folder:
            yield from self._checkpoints(folder)

    def _values(self) -> Iterator[str]:
        record = self._record
        expected = shown_parameters(self._card, record)
        expected["trainable_parameters"] = count_parameters(record.values, self._train)
        for name, value in expected.items():
            shown = record.parameters.get(name)
            if shown is None or not _equal(shown, value):
                yield f"parameter {name} is {shown}, expected {value}"

    def _read_curves(self) -> Iterator[str]:
        for name in (*CURVES, *(f"seed_{seed}/{name}" for seed in self._seeds for name in CURVES)):
            points = read_curve(self._store, self._record.run_id, name)
            if [step for step, _ in points] != list(range(1, self._epochs + 1)):
                yield f"{name} has steps {[step for step, _ in points]}, epochs_run is {self._epochs}"
                self._complete = False
            self._curves[name] = [value for _, value in points]
        self._complete = self._complete and self._epochs > 0

    def _means(self) -> Iterator[str]:
        for name in CURVES:
            mean = np.mean([self._curves[f"seed_{seed}/{name}"] for seed in self._seeds], axis=0)
            if not np.allclose(mean, self._curves[name], rtol=EXACT, atol=0):
                yield f"{name} is not the mean of its seeds"
        last = last_epoch(self._curves["val_accuracy"], self._record.epochs, self._card.training.patience)
        if self._record.pruned:
            if self._epochs >= last:
                yield f"it was pruned, but came to its end: epochs_run is {self._epochs}"
        elif last != self._epochs:
            yield f"epochs_run is {self._epochs}, the curve and the card's patience say {last}"

    def _read_predictions(self, folder: Path, names: Mapping[int, str]) -> Iterator[str]:
        for seed, name in names.items():
            try:
                probabilities, labels = load_predictions(folder / name)
            except Exception as error:  # zipfile, zlib and numpy each meet damage in their own way
                self.damaged.append(name)
                yield f"{name} is missing or damaged: {type(error).__name__}: {error}"
                continue
            accuracy, loss = (self._curves[f"seed_{seed}/{curve}"] for curve in ("val_accuracy", "val_loss"))
            if probabilities.dtype != np.float32 or probabilities.shape[:2] != (len(accuracy), len(self._labels)):
                yield f"{name} is {probabilities.dtype} {probabilities.shape}"
                continue
            if not np.array_equal(labels, self._labels):
                yield f"{name} has other labels than the manifest"
            if not np.isfinite(probabilities).all() or np.abs(probabilities.sum(-1) - 1).max() > PROBABILITY:
                yield f"{name} has rows that are no probabilities"
                continue
            if (probabilities.argmax(-1) == self._labels).mean(-1).tolist() != accuracy:
                yield f"{name} gives another accuracy than seed_{seed}/val_accuracy"
            picked = probabilities[:, np.arange(len(self._labels)), self._labels].astype(float)
            # Below that, float32 has lost what the loss was computed from.
            if picked.min() > 1e-30 and not np.allclose(-np.log(picked).mean(-1), loss, rtol=LOSS, atol=LOSS):
                yield f"{name} gives another loss than seed_{seed}/val_loss"
            self._kept[seed] = probabilities

    def _best(self) -> Iterator[str]:
        metrics = self._record.metrics
        best_epoch = selection.best_epoch(self._curves["val_accuracy"])
        expected: dict[str, float] = {
            "best_epoch": best_epoch,
            "best_val_accuracy": self._curves["val_accuracy"][best_epoch - 1],
        }
        if len(self._kept) == len(self._seeds):
            best = np.stack([self._kept[seed][best_epoch - 1] for seed in self._seeds])
            correct = selection.correct(best, self._labels)
            expected["best_val_accuracy_se"] = selection.standard_error(correct)
            if (spread := selection.seed_spread(correct)) is not None:
                expected["best_val_accuracy_seed_sd"] = spread
        for name, value in expected.items():
            if name not in metrics or not math.isclose(metrics[name], value, rel_tol=EXACT, abs_tol=EXACT):
                yield f"{name} is {metrics.get(name)}, the curves and predictions give {value}"

    def _checkpoints(self, folder: Path) -> Iterator[str]:
        expected = set(expected_checkpoints(self._curves, self._seeds)) if self._complete else set()
        there = {path.relative_to(folder).as_posix() for path in folder.glob("checkpoints/*/*")}
        for name in sorted(expected - there):
            self.damaged.append(name)
            yield f"{name} is missing"
        for name in sorted(there - expected if self._complete else ()):
            yield f"{name} stands where no curve improved"
        for name in sorted(there & expected if self._complete else there):
            self.num_checkpoints += 1
            if problem := self._score(folder / name, name):
                self.damaged.append(name)
                yield f"{name} {problem}"

    def _score(self, path: Path, name: str) -> str:
        try:
            with zipfile.ZipFile(path) as content:
                if damaged := content.testzip():
                    return f"is damaged: {damaged} fails its checksum"
            if self._views is None:
                return ""
            probabilities = predict_mean(path, self._views)
        except BrokenCheckpointError as error:
            return f"is damaged: {error}"
        except Exception as error:  # zipfile and zlib each meet damage in their own way
            return f"is damaged: {type(error).__name__}: {error}"
        seed, epoch = _place(name)
        if seed not in self._kept:
            return ""
        largest = float(np.abs(probabilities - self._kept[seed][epoch - 1]).max())
        if not largest <= PROBABILITY:
            return f"gives probabilities that differ from the kept ones by up to {largest:.2g}"
        return ""


def expected_checkpoints(curves: Mapping[str, list[float]], seeds: range) -> Iterator[str]:
    """Which checkpoints a trial keeps: those where the mean curve or the seed's own one improves."""
    mean = _improvements(curves["val_accuracy"])
    for seed in seeds:
        for epoch in sorted(mean | _improvements(curves[f"seed_{seed}/val_accuracy"])):
            yield f"checkpoints/seed_{seed}/epoch_{epoch:02d}.keras"


def _improvements(curve: list[float]) -> set[int]:
    return {epoch for epoch, value in enumerate(curve, 1) if value > max(curve[: epoch - 1], default=-1.0)}


def _place(name: str) -> tuple[int, int]:
    """Seed and epoch of checkpoints/seed_K/epoch_NN.keras."""
    path = Path(name)
    return int(path.parent.name.removeprefix("seed_")), int(path.stem.removeprefix("epoch_"))


def _equal(shown: str, value: Value) -> bool:
    if isinstance(value, str):
        return shown == value
    try:
        return float(shown) == float(value)
    except ValueError:
        return False
