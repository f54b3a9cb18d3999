"""From a finished study to a registered model: trials at the final size, the choice, the whole model, one look."""

from __future__ import annotations

from collections.abc import Callable

from fashion_tuning.data.download import NAME as CLOTHING
from fashion_tuning.evaluate import Subject, evaluate, read_evaluation
from fashion_tuning.final.choice import choose_candidate, choose_winner, completed_trials, correlate
from fashion_tuning.final.job import Job
from fashion_tuning.final.model_card import model_card
from fashion_tuning.final.outcome import Correlation, Outcome
from fashion_tuning.final.promotion import DECISION, promote
from fashion_tuning.final.shipping import ship_winner
from fashion_tuning.study.coordinator import Coordinator
from fashion_tuning.study.events import Report
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.final_queue import BASELINE, FinalQueue
from fashion_tuning.study.inputs import each_once
from fashion_tuning.study.lookup import find_own_studies
from fashion_tuning.study.ownership import owned
from fashion_tuning.study.plan import estimate_listed, make_plan, require_disk
from fashion_tuning.study.recorded import read_recorded
from fashion_tuning.study.session import (
    close_left,
    closing,
    computed_features,
    log_views,
    open_attempts,
    report_deleted,
)
from fashion_tuning.study.teacher import answered, open_lesson
from fashion_tuning.tracking import registry, tag_names
from fashion_tuning.tracking.evaluation_run import find_evaluation
from fashion_tuning.tracking.notes import renew_version_note
from fashion_tuning.tracking.records import TrialRecord, current_study
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.study_run import FinalRun

# Of single models on the test photos of clothing-dataset-small: the book's xception_v4_large_08_0.894.h5 and the
# course's xception_v4_1_13_0.903.h5.
PUBLISHED = "test 0.9032 (book, with augmentation), 0.8978 (course); one seed each"


def final_train(
    job: Job,
    store: Store,
    *,
    workers: list[Worker],
    report: Report,
    tell: Callable[[str], None],
    override: bool | None = None,
) -> Outcome:
    """Runs or resumes a final run, and returns what it has come to.

    Writes features at the final size to the cache and everything else to the store. What stands already is
    not done again: neither a trial, nor the version, nor the look at test.

    Args:
      override: True: the new version becomes champion whatever the comparison says; False: never.

    Raises:
      NoTrialError: No candidate that may be chosen was completed.
      StudyOwnedError: Another live process works on this final run.
      DataError, DiskError, StoreError: As their names say; what was recorded stays.
    """
    inputs, origin = job.inputs, job.origin()
    experiment = job.study.experiment if job.study else inputs.experiment
    with owned(store, experiment, origin.digest, cache_dir=inputs.cache_dir):
        experiment, known = find_own_studies(
            store, experiment, origin.digest, card_name=inputs.card.name, kind=FinalRun.kind
        )
        same = current_study(known, origin.digest)
        if same is not None:
            run = FinalRun.resume(store, same, origin.dataset)
        else:
            run = FinalRun.begin(store, experiment, origin, generation=1)
        with closing(run):
            run.start(origin)
            close_left(store, run.record, cache_dir=inputs.cache_dir)
            _train(job, run, workers=workers, report=report)
            return _finish(job, run, worker=workers[0], tell=tell, override=override)


def _train(job: Job, run: FinalRun, *, workers: list[Worker], report: Report) -> None:
    """All trials of the final run."""
    inputs, features = job.inputs, job.inputs.features
    queue = FinalQueue(
        job.card.final,
        job.sources,
        open_attempts(run.store, run.record),
        baseline=job.baseline,
        epochs=job.epochs,
        choose=lambda: choose_candidate(job, run.store, completed_trials(run.store, run.record)),
    )
    trials_ended = len(queue.ended)
    lesson = open_lesson(inputs, run, earlier=job.study.run_id if job.study else "")
    cost = estimate_listed(inputs, lesson.features, job.planned[trials_ended:])
    require_disk(cost, store=run.store, cache_dir=inputs.cache_dir)
    report(
        make_plan(
            inputs,
            run.store,
            run.record,
            cost,
            trials_ended=trials_ended,
            limit=queue.max_trials,
            resumed=bool(trials_ended),
        )
    )
    report_deleted(queue, report)
    log_views(inputs, run)
    refs = each_once([*features.of_trials([values for values, _ in job.planned]), *lesson.features])
    if seconds := computed_features(inputs, refs, workers[0], report):
        run.log({"seconds_features": seconds}, step=trials_ended)
    Coordinator(
        inputs.card,
        run,
        agenda=queue,
        workers=workers,
        features=features,
        weights=inputs.weights,
        targets=answered(inputs, run, lesson, workers[0], report),
        report=report,
    ).run()


def _finish(job: Job, run: FinalRun, *, worker: Worker, tell: Callable[[str], None], override: bool | None) -> Outcome:
    """The choice, the whole model, its version, the one look at test, and the aliases."""
    store, inputs = run.store, job.inputs
    trials = completed_trials(store, run.record)
    candidate = choose_candidate(job, store, trials)
    winner = choose_winner(job, store, trials, candidate)
    baseline = next((one for one in trials if one.stage == BASELINE), None)
    correlation = correlate(job, store, trials)
    _record_choice(job, run, candidate, winner, correlation)

    version, parity = registry.version_of_run(store, run.run_id), None
    if version is None:
        tell("the whole model is made and compared with prefix plus head")
        version, parity = ship_winner(job, run, winner, worker)
        tell(f"registered {version}; largest difference {parity.largest_difference:.2g}")
    if DECISION not in version.tags:
        registry.set_alias(store, version, registry.CANDIDATE)
    promotion = promote(store, version, winner, manifest=inputs.dataset.manifest.digest, override=override)

    taken = find_evaluation(store, run.experiment_id, final_run=run.run_id, split="test")
    if taken is None:
        tell("everything is chosen: one look at the test split")
        evaluation = evaluate(
            store,
            Subject(run.record, winner, baseline, str(version)),
            split="test",
            by="final-train",
            worker=worker,
            weights=inputs.weights,
            root=inputs.dataset.root,
            cache_dir=inputs.cache_dir,
        )
    else:
        evaluation = read_evaluation(store, taken, read_recorded(store, run.record))
    outcome = Outcome(
        run.record,
        tuple(trials),
        candidate,
        winner,
        baseline,
        correlation,
        parity,
        version,
        promotion,
        evaluation,
        PUBLISHED if inputs.dataset.name == CLOTHING and inputs.card.images.image_size == 299 else "",
    )
    registry.tag_version(store, version, {"test_accuracy": f"{evaluation.figures.accuracy:.4f}"})
    renew_version_note(store, version.name, version.number, model_card(outcome, job.inputs))
    return outcome


def _record_choice(
    job: Job, run: FinalRun, candidate: TrialRecord, winner: TrialRecord, correlation: Correlation | None
) -> None:
    by_name = {f"trial {one.trial:02d}": one for one in job.sources}
    metrics = {name: winner.metrics[name] for name in ("best_val_accuracy", "best_val_accuracy_se", "best_epoch")}
    if "best_val_accuracy_seed_sd" in winner.metrics:
        metrics["best_val_accuracy_seed_sd"] = winner.metrics["best_val_accuracy_seed_sd"]
    if correlation is not None and correlation.value == correlation.value:
        metrics |= {
            "rank_correlation": correlation.value,
            "rank_correlation_low": correlation.low,
            "rank_correlation_high": correlation.high,
        }
    run.choose(
        {
            tag_names.SOURCE_TRIAL_RUN: by_name[candidate.source].run_id,
            tag_names.CANDIDATE_RUN: candidate.run_id,
            tag_names.CHOSEN_RUN: winner.run_id,
        },
        {name: str(value) for name, value in winner.values.items()},
        metrics,
        step=len(job.planned),
    )
