"""The whole model of a final run: made, compared with prefix plus head, packed and registered."""

from __future__ import annotations

from dataclasses import asdict, replace

from fashion_tuning.errors import ParityError
from fashion_tuning.files import scratch_folder, sha256_of
from fashion_tuning.final.job import Job
from fashion_tuning.final.reduced import compare, require_agreement
from fashion_tuning.model.features import FeatureRef, compute_features, feature_ref
from fashion_tuning.model.key import FeatureKey
from fashion_tuning.model.shipped import ModelCard
from fashion_tuning.model.whole import Parity, ship
from fashion_tuning.study.best_epoch import best_heads, unsure_below
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.inputs import StudyInputs, averages, sizing, trial_views
from fashion_tuning.tracking import registry, tag_names
from fashion_tuning.tracking.records import TrialRecord
from fashion_tuning.tracking.registry import Version
from fashion_tuning.tracking.study_run import FinalRun

PARITY = 1e-4  # of probabilities: whole model against prefix plus head


def ship_winner(job: Job, run: FinalRun, winner: TrialRecord, worker: Worker) -> tuple[Version, Parity]:
    """Makes, checks, packs and registers the whole model: seed 1 at best_epoch, exact whatever the card's mode.

    Raises:
      ParityError: It does not say what prefix plus head say, or the card's reduced mode says something else.
      StoreError, DiskError: The store or a disk refuses.
    """
    inputs, refs, store = job.inputs, job.inputs.features.of(winner.values), run.store
    weights = inputs.weights[inputs.card.backbone_of(winner.values)]
    validation = replace(refs["validation"], views=())  # that hold of the photos is enough
    card = ModelCard(
        validation.classes,
        **asdict(sizing(inputs.card)),
        views=tuple(view.name for view in trial_views(inputs.card, winner.values)),
        average=averages(inputs.card),
        unsure_below=unsure_below(store, winner),
    )
    with scratch_folder() as folder, best_heads(store, winner) as heads:
        whole = folder / "model.keras"
        exact = _exact_validation(inputs, validation.key.exact, worker)
        if exact != validation:
            agreement = compare(heads, reduced=validation, exact=exact)
            run.log(
                {"exact_agreement": agreement.same, "exact_difference": agreement.difference}, step=len(job.planned)
            )
            require_agreement(agreement, mode=validation.key.mode)
        parity: Parity | None = None
        for step in worker.run(ship, weights, heads[0], card, whole, validation=exact, root=inputs.dataset.root):
            parity = step if isinstance(step, Parity) else None
        if parity is None or not parity.largest_difference <= PARITY:
            raise ParityError(
                f"the whole model differs from prefix plus head: {parity}", expected=f"at most {PARITY:g}"
            )
        run.log({"parity": parity.largest_difference}, step=len(job.planned))
        example = inputs.dataset.root / validation.photos[0][0]
        registry.pack(whole, folder / "packed", class_names=card.class_names, example=example.read_bytes())
        version = registry.register(
            store,
            run.run_id,
            folder / "packed",
            name=registry.model_name(drawn=inputs.dataset.kind == "drawn"),
            tags={**_version_tags(job, run, winner), registry.DIGEST: sha256_of(whole)},
        )
    return version, parity


def _exact_validation(inputs: StudyInputs, key: FeatureKey, worker: Worker) -> FeatureRef:
    """The validation photos' exact features, computed where the card's mode is a reduced one."""
    ref = feature_ref(key, "validation", manifest=inputs.dataset.manifest, cache_dir=inputs.cache_dir)
    for _ in worker.run(compute_features, ref, root=inputs.dataset.root, weights=inputs.weights[key.backbone]):
        pass
    return ref


def _version_tags(job: Job, run: FinalRun, winner: TrialRecord) -> dict[str, str]:
    tags = {
        tag_names.STUDY: run.record.study,
        tag_names.TRIAL_RUN: winner.run_id,
        tag_names.MANIFEST: job.inputs.dataset.manifest.digest,
        "image_size": str(job.inputs.card.images.image_size),
        "best_val_accuracy": f"{winner.metrics['best_val_accuracy']:.4f}",
        "best_val_accuracy_se": f"{winner.metrics['best_val_accuracy_se']:.4f}",
    }
    return tags | ({tag_names.STUDY_RUN: job.study.run_id} if job.study else {})
