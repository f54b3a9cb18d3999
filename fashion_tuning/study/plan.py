"""What a study is about to do and what it will cost, told before it starts."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fashion_tuning.errors import DiskError
from fashion_tuning.hyperparameters import Value
from fashion_tuning.model.features import FeatureRef, verify_shards
from fashion_tuning.model.key import FeatureKey
from fashion_tuning.study import estimate
from fashion_tuning.study.combinations import describe_offer, trials_of_hyperband, trials_offered
from fashion_tuning.study.events import Plan
from fashion_tuning.study.inputs import SPLITS, Features, StudyInputs, averages, each_once
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


def estimate_cost(inputs: StudyInputs, taught: Sequence[FeatureRef], *, trials_ended: int, limit: int | None) -> Cost:
    """What is left to do on a card, given what the cache and the store hold already; read-only.

    Args:
      taught: What its teacher has yet to answer to.
    """
    card, features = inputs.card, inputs.features
    listed = card.configurations[trials_ended:limit]
    trials = [(card.values_of(one), one.epochs or card.training.epochs) for one in listed]
    cost = _with_teacher(inputs, taught, features.of_card(), trials)
    if card.space is None:
        return cost
    offered = trials_offered(card) or (trials_of_hyperband(card) if limit is None else limit)
    searched = max(0, min(limit or offered, offered) - trials_ended - len(listed))
    each = [_cost(features, [], [(point, card.training.epochs)]) for point in estimate.points(card.space)]
    return replace(
        cost,
        seconds=cost.seconds + searched * sum(one.seconds for one in each) / len(each),
        checkpoint_bytes=cost.checkpoint_bytes + searched * max(one.checkpoint_bytes for one in each),
    )


def estimate_listed(
    inputs: StudyInputs, taught: Sequence[FeatureRef], trials: Sequence[tuple[Mapping[str, Value], int]]
) -> Cost:
    """What features and these trials will cost, (values, epochs) each, and what `taught` does; read-only."""
    return _with_teacher(inputs, taught, inputs.features.of_trials([values for values, _ in trials]), trials)


def _with_teacher(
    inputs: StudyInputs,
    taught: Sequence[FeatureRef],
    refs: Sequence[FeatureRef],
    trials: Sequence[tuple[Mapping[str, Value], int]],
) -> Cost:
    cost = _cost(inputs.features, each_once([*refs, *taught]), trials)
    num_heads = inputs.teacher.num_seeds if inputs.teacher else 0
    return replace(cost, seconds=cost.seconds + num_heads * sum(map(estimate.answer_seconds, taught)))


def _cost(features: Features, refs: Sequence[FeatureRef], trials: Sequence[tuple[Mapping[str, Value], int]]) -> Cost:
    card = features.card
    missing = {
        ref: sum(len(ref.rows(shard)) for shard, good in enumerate(verify_shards(ref)) if not good) for ref in refs
    }
    # What stands at an earlier cut is not computed twice, see model/features.py.
    photos: dict[tuple[FeatureKey, str], int] = {}
    for ref, num_images in missing.items():
        place = replace(ref.key, cut=""), ref.split
        photos[place] = max(photos.get(place, 0), num_images)
    seconds = sum(
        estimate.feature_seconds(num_images, backbone=key.backbone, image_size=key.image_size)
        for (key, _), num_images in photos.items()
    )
    disk = 0
    for values, epochs in trials:
        train = features.of(values)["train"]
        seconds += estimate.trial_seconds(card, values, train, epochs=epochs)
        disk += estimate.checkpoint_bytes(card, values, train, epochs=epochs)
    return Cost(
        images_cached=sum(len(ref.photos) for ref in refs) - sum(missing.values()),
        images_missing=sum(missing.values()),
        seconds=seconds,
        checkpoint_bytes=disk,
        feature_bytes=sum(num_images * ref.array.row_bytes for ref, num_images in missing.items()),
    )


def require_disk(cost: Cost, *, store: Store, cache_dir: Path) -> None:
    """Makes sure that features and checkpoints will fit; read-only.

    Raises:
      DiskError: One of the disks has less free space than may be needed on it.
    """
    wanted = [(cache_dir, cost.feature_bytes, "features")]
    if store.folder:
        wanted.append((store.folder, cost.checkpoint_bytes, "checkpoints"))
    needed: dict[int, int] = {}  # by disk, which both may share
    for folder, num_bytes, what in wanted:
        there = next(one for one in (folder, *folder.parents) if one.exists())
        disk, free = there.stat().st_dev, shutil.disk_usage(there).free
        beside = f", with {size(needed[disk])} of features beside them" if needed.get(disk) else ""
        needed[disk] = needed.get(disk, 0) + num_bytes
        if needed[disk] > free:
            raise DiskError(
                f"{folder} has {size(free)} free, {what} may need {size(num_bytes)}{beside}",
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
    offered = trials_offered(card) if study.kind == "study" else None
    is_short = limit is not None and offered is not None and offered < limit
    return Plan(
        card=card.name,
        tuner="final" if study.kind == "final" else card.search.tuner if card.search else "list",
        dataset=inputs.dataset.name,
        drawn=inputs.dataset.kind == "drawn",
        counts={split: sum(counts[split].values()) for split in SPLITS},
        classes=inputs.dataset.manifest.classes,
        image_size=card.images.image_size,
        max_trials=offered if is_short else limit,
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
        averages=averages(card),
        teacher=str(inputs.teacher or ""),
        shared=inputs.dataset.verification.shared,
        short=f"not {limit}: {describe_offer(card)}" if is_short else "",
    )
