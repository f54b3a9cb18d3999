"""What a study is about to do and what it will cost, told before it starts."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fashion_tuning.config import Card
from fashion_tuning.errors import DiskError
from fashion_tuning.hyperparameters import Value
from fashion_tuning.model.features import FeatureRef, verify_shards
from fashion_tuning.model.head import count_parameters
from fashion_tuning.study import estimate
from fashion_tuning.study.events import Plan
from fashion_tuning.study.inputs import StudyInputs
from fashion_tuning.tracking.records import StudyRecord
from fashion_tuning.tracking.store import Store
from fashion_tuning.wording import size


@dataclass(frozen=True)
class Cost:
    """Estimates: seconds as a rough middle, checkpoint bytes as an upper bound, feature bytes exact."""

    images_cached: int
    images_missing: int
    seconds: float
    checkpoint_bytes: int
    feature_bytes: int


def estimate_cost(card: Card, refs: Mapping[str, FeatureRef], *, trials_ended: int, limit: int | None) -> Cost:
    """What is left to do on a card, given what the cache and the store hold already; read-only."""
    listed = card.configurations[trials_ended:limit]
    cost = estimate_listed(card, refs, [(card.values_of(one), one.epochs or card.training.epochs) for one in listed])
    if card.space is None:
        return cost
    num_train, num_classes = len(refs["train"].photos), len(refs["train"].classes)
    searched = max(0, (limit or estimate.trials_of_search(card)) - trials_ended - len(listed))
    mean, largest = estimate.parameter_range(
        card.space, feature_size=refs["train"].num_features, num_classes=num_classes
    )
    epochs = card.training.epochs
    seconds = estimate.trial_seconds(card, num_images=num_train, parameters=int(mean), epochs=epochs)
    disk = estimate.checkpoint_bytes(card, parameters=largest, epochs=epochs)
    return replace(
        cost, seconds=cost.seconds + searched * seconds, checkpoint_bytes=cost.checkpoint_bytes + searched * disk
    )


def estimate_listed(
    card: Card, refs: Mapping[str, FeatureRef], trials: Sequence[tuple[Mapping[str, Value], int]]
) -> Cost:
    """What features and these trials will cost, (values, epochs) each; read-only."""
    wanted = [one for ref in refs.values() for one in ref.every]
    missing = sum(len(ref.rows(shard)) for ref in wanted for shard, good in enumerate(verify_shards(ref)) if not good)
    num_train, num_classes = len(refs["train"].photos), len(refs["train"].classes)
    num_features = refs["train"].num_features
    seconds = estimate.feature_seconds(missing, image_size=card.images.image_size)
    disk = 0
    for values, epochs in trials:
        parameters = count_parameters(values, feature_size=num_features, num_classes=num_classes)
        seconds += estimate.trial_seconds(card, num_images=num_train, parameters=parameters, epochs=epochs)
        disk += estimate.checkpoint_bytes(card, parameters=parameters, epochs=epochs)
    return Cost(
        images_cached=sum(len(ref.photos) for ref in wanted) - missing,
        images_missing=missing,
        seconds=seconds,
        checkpoint_bytes=disk,
        feature_bytes=missing * num_features * 4,
    )


def require_disk(cost: Cost, *, store: Store, cache_dir: Path) -> None:
    """Makes sure that features and checkpoints will fit; read-only.

    Raises:
      DiskError: One of the disks has less free space than may be needed.
    """
    wanted = [(cache_dir, cost.feature_bytes, "features")]
    if store.folder:
        wanted.append((store.folder, cost.checkpoint_bytes, "checkpoints"))
    for folder, num_bytes, what in wanted:
        free = shutil.disk_usage(next(one for one in (folder, *folder.parents) if one.exists())).free
        if num_bytes > free:
            raise DiskError(
                f"{folder} has {size(free)} free, {what} may need {size(num_bytes)}",
                action="free some space, or lower max_trials, epochs or seeds in the card",
            )


def make_plan(
    inputs: StudyInputs,
    store: Store,
    study: StudyRecord,
    cost: Cost,
    *,
    trials_ended: int,
    limit: int | None,
    resumed: bool,
    changed: tuple[str, ...] = (),
) -> Plan:
    """Everything a person is shown before a study or a final run starts."""
    card, counts = inputs.card, inputs.dataset.manifest.counts()
    return Plan(
        card=card.name,
        tuner="final" if study.kind == "final" else card.search.tuner if card.search else "list",
        dataset=inputs.dataset.name,
        drawn=inputs.dataset.kind == "drawn",
        counts={split: sum(counts[split].values()) for split in inputs.refs()},
        classes=inputs.dataset.manifest.classes,
        image_size=card.images.image_size,
        max_trials=limit,
        trials_ended=trials_ended,
        seeds=card.training.seeds,
        epochs=max([card.training.epochs, *(one.epochs or 0 for one in card.configurations)]),
        images_cached=cost.images_cached,
        images_missing=cost.images_missing,
        seconds=cost.seconds,
        checkpoint_bytes=cost.checkpoint_bytes,
        feature_bytes=cost.feature_bytes,
        experiment=inputs.experiment,
        study_run=study.run_id,
        store=store.uri,
        generation=study.generation,
        resumed=resumed,
        changed=changed,
        num_views=card.views.number if card.views else 0,
    )
