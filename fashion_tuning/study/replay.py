"""One recorded trial trained again from its run alone, and compared with the record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fashion_tuning.backend import choose_backend
from fashion_tuning.errors import StoreError, UsageError, WeightsError
from fashion_tuning.files import scratch_folder
from fashion_tuning.hyperparameters import setting
from fashion_tuning.model.epochs import EpochResult
from fashion_tuning.model.exact import require_device
from fashion_tuning.model.features import FeatureRef, compute_features, verify_shards
from fashion_tuning.model.key import FeatureKey
from fashion_tuning.model.trainable import is_long
from fashion_tuning.model.training import TRAINING_VERSION, train_trial
from fashion_tuning.model.weights import Weights, get_weights
from fashion_tuning.study.executors import Done, Failed, Output, Worker
from fashion_tuning.study.inputs import trial_settings
from fashion_tuning.study.recorded import RecordedStudy, read_recorded
from fashion_tuning.study.replay_comparison import Comparison, compare
from fashion_tuning.study.teacher import TARGETS, read_targets
from fashion_tuning.study.trial_check import TrialCheck
from fashion_tuning.tracking.artifacts import artifacts
from fashion_tuning.tracking.predictions import save_predictions
from fashion_tuning.tracking.provenance import machine, versions
from fashion_tuning.tracking.records import TrialRecord, read_origin, read_trial
from fashion_tuning.tracking.store import Store

TOLERANCE = 1e-6  # absolute; on the machine and with the versions of the record nothing differs at all


@dataclass(frozen=True)
class Replay:
    """What came of it.

    `notes` say what is not as it was when the trial was recorded; `repaired` which artifacts
    were made again.
    """

    run_id: str
    trial: int
    comparisons: tuple[Comparison, ...]
    tolerance: float
    notes: tuple[str, ...]
    repaired: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        return all(one.difference <= self.tolerance for one in self.comparisons)


def replay(
    store: Store,
    run_id: str,
    *,
    worker: Worker,
    cache_dir: Path,
    data_dir: Path | None = None,
    environment_dir: Path | None = None,
    tolerance: float = TOLERANCE,
    repair: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Replay:
    """Trains a recorded trial again and compares every metric and prediction.

    Features that are not in the cache are computed from the photos, whose bytes must be those
    on record. Writes to the cache and, with `repair`, to the trial's run.

    Args:
      data_dir: Where the photos are now; None: where they were then.
      environment_dir: The folder that the environment names, which drawn garments leave alone.
      tolerance: Largest absolute difference that counts as none.
      repair: Where all agrees, make missing and damaged artifacts of the run again; a damaged
        one is kept below broken/.

    Raises:
      UsageError: No such trial, or one that can't be replayed.
      DataError, WeightsError: Photos or weights are not those on record.
      StoreError: The store can't be read or written.
    """
    record, recorded = _read(store, run_id)
    targets = _targets(store, recorded) if setting("distillation", record.values) else None
    refs = recorded.features(cache_dir).of(record.values)
    if recorded.record.photos != "drawn":
        data_dir = data_dir or environment_dir
    _compute_features(recorded, refs, worker, cache_dir=cache_dir, data_dir=data_dir, tell=tell)
    with scratch_folder() as scratch:
        tell(f"trial {record.trial} of {recorded.record.experiment}: training it again")
        weights = _weights(refs["train"].key, cache_dir, tell) if is_long(refs["train"]) else None
        results, failure = _train(worker, recorded, record, refs, scratch, weights, targets)
        labels, num_seeds = refs["validation"].labels(), recorded.card.training.seeds
        comparisons = compare(store, record, results, failure, labels=labels, num_seeds=num_seeds)
        outcome = Replay(run_id, record.trial, comparisons, tolerance, tuple(_notes(store, recorded)))
        if not repair or not outcome.agrees or failure is not None:
            return outcome
        repaired = _repair(store, recorded, record, results, refs, scratch)
    return Replay(run_id, record.trial, comparisons, tolerance, outcome.notes, tuple(repaired))


def _read(store: Store, run_id: str) -> tuple[TrialRecord, RecordedStudy]:
    found = read_trial(store, run_id)
    if found is None:
        raise UsageError(
            f"no trial's run {run_id!r} in {store.uri}",
            expected="the run id of a trial",
            action="fashion-tuning leaderboard STUDY shows them",
        )
    record, study = found
    if not record.completed and not (record.failed and record.error == "diverged"):
        state = f"{record.status}: {record.error}" if record.error else record.status
        raise UsageError(
            f"run {run_id} is {state}",
            expected="a FINISHED trial, or one that has diverged: of others nothing can be compared",
        )
    recorded = read_recorded(store, study)
    if recorded.training_version != str(TRAINING_VERSION):
        raise UsageError(
            f"run {run_id} was trained by version {recorded.training_version} of the training code",
            expected=f"version {TRAINING_VERSION}, which this program has",
            action="install the version that is named in its study's tags",
        )
    key, backend = next(iter(recorded.keys.values())), choose_backend()
    # See `feature_key`.
    trained_on = key.engine.removeprefix("keras-") if key.engine.startswith("keras-") else "tensorflow"
    if trained_on != backend:
        raise UsageError(
            f"run {run_id} was trained by Keras on {trained_on}, and it runs on {backend} here",
            expected="the same backend: another one draws other numbers from the same seeds",
            action=f"set KERAS_BACKEND={trained_on}",
        )
    require_device(key.device, what=f"run {run_id} was trained")
    return record, recorded


def _compute_features(
    recorded: RecordedStudy,
    refs: Mapping[str, FeatureRef],
    worker: Worker,
    *,
    cache_dir: Path,
    data_dir: Path | None,
    tell: Callable[[str], None],
) -> None:
    missing = [one for ref in refs.values() for one in ref.every if not all(verify_shards(one))]
    if not missing:
        return
    root = data_dir or recorded.source
    if root is None or not root.is_dir():
        raise UsageError(
            f"the features of {recorded.record.experiment} are not in the cache, and its photos are not at {root}",
            expected="the photos of its manifest",
            action="name their folder with --data",
        )
    weights = _weights(missing[0].key, cache_dir, tell)  # all are of one trial
    for ref in missing:
        tell(f"features of {len(ref.photos)} {ref.split} photos are computed")
        for _ in worker.run(compute_features, ref, root=root, weights=weights):
            pass


def _weights(key: FeatureKey, cache_dir: Path, tell: Callable[[str], None]) -> Weights:
    weights = get_weights(key.backbone, cache_dir=cache_dir, progress=tell)
    if weights.digest != key.weights:
        raise WeightsError(f"the weights here have digest {weights.digest}", expected=f"{key.weights}, as on record")
    return weights


def _targets(store: Store, recorded: RecordedStudy) -> np.ndarray:
    if (kept := read_targets(store, recorded.record.run_id)) is None:
        raise StoreError(
            f"{TARGETS} of study run {recorded.record.run_id} is missing or damaged: what its teacher has said",
            action=f"fashion-tuning {'final-train' if recorded.record.kind == 'final' else 'tune'} with the same card"
            " makes it again, while its teacher is the same",
        )
    return kept


def _train(
    worker: Worker,
    recorded: RecordedStudy,
    record: TrialRecord,
    refs: Mapping[str, FeatureRef],
    scratch: Path,
    weights: Weights | None,
    targets: np.ndarray | None,
) -> tuple[list[EpochResult], Failed | None]:
    settings = trial_settings(recorded.card, record)
    worker.submit(train_trial, settings, refs["train"], refs["validation"], scratch, weights, targets)
    results: list[EpochResult] = []
    while True:
        message = worker.receive()
        if isinstance(message, Output):
            results.append(message.value)
            if record.pruned and len(results) == int(record.metrics["epochs_run"]):
                worker.close()  # that far it went then
                return results, None
        elif isinstance(message, Done):
            return results, None
        elif message.error is not None:
            raise message.error
        else:
            return results, message


def _notes(store: Store, recorded: RecordedStudy) -> list[str]:
    """What differs between this machine and the one on record."""
    here = {**machine(), **versions()}
    there = read_origin(store, recorded.record.run_id)
    ignored = ("host", "memory_gib", "fashion-tuning")
    return [
        f"{name} was {there[name]}, here it is {here.get(name, 'missing')}"
        for name in there
        if name not in ignored and there[name] != here.get(name)
    ]


def _repair(
    store: Store,
    recorded: RecordedStudy,
    record: TrialRecord,
    results: list[EpochResult],
    refs: Mapping[str, FeatureRef],
    scratch: Path,
) -> list[str]:
    labels = refs["validation"].labels()
    look = TrialCheck(store, recorded, record, refs)
    for _ in look.differences():
        pass
    for seed in range(1, recorded.card.training.seeds + 1):
        path = scratch / "predictions" / f"seed_{seed}.npz"
        path.parent.mkdir(exist_ok=True)
        save_predictions(path, np.stack([result.probabilities[seed - 1] for result in results]), labels)
    for path in list(scratch.glob("seed_*")):
        (scratch / "checkpoints").mkdir(exist_ok=True)
        path.rename(scratch / "checkpoints" / path.name)
    for name in look.damaged:
        folder = Path(name).parent.as_posix()
        with artifacts(store, record.run_id, name) as run_folder:
            if (run_folder / name).exists():
                store.upload(record.run_id, run_folder / name, f"broken/{folder}")
        store.upload(record.run_id, scratch / name, folder)
    return look.damaged
