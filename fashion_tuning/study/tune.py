"""A study from its card to its last trial: find or begin its run, compute features, run trials."""

from __future__ import annotations

from fashion_tuning.config import Card
from fashion_tuning.data.download import NAME as CLOTHING
from fashion_tuning.study.agenda import Agenda
from fashion_tuning.study.coordinator import Coordinator
from fashion_tuning.study.differences import differences
from fashion_tuning.study.events import Notice, Report
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.inputs import StudyInputs, each_once
from fashion_tuning.study.lookup import find_own_studies
from fashion_tuning.study.ownership import owned
from fashion_tuning.study.plan import estimate_cost, make_plan, require_disk
from fashion_tuning.study.session import (
    close_left,
    closing,
    computed_features,
    log_views,
    open_attempts,
    report_deleted,
)
from fashion_tuning.study.teacher import answered, open_lesson
from fashion_tuning.tracking.records import (
    StudyRecord,
    current_study,
    read_study,
)
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.study_run import StudyRun


def tune(
    inputs: StudyInputs,
    store: Store,
    *,
    workers: list[Worker],
    max_trials: int | None,
    fresh: bool,
    report: Report,
) -> StudyRecord:
    """Runs or resumes a study until its trials are done, and returns its record.

    Writes features to the cache and everything else to the store.

    Args:
      max_trials: Takes the card's place; None leaves the card's.
      fresh: Begin a new generation even where the study exists.

    Raises:
      StudyOwnedError: Another live process runs this study.
      NoTrialError: Three trials in a row have failed.
      DataError, DiskError, StoreError: As their names say; what was recorded stays.
    """
    origin, digest, card = inputs.origin, inputs.study.digest, inputs.card
    with owned(store, inputs.experiment, digest, cache_dir=inputs.cache_dir):
        experiment, known = find_own_studies(store, inputs.experiment, digest, card_name=card.name, fresh=fresh)
        if experiment != inputs.experiment:
            report(Notice(f"the experiment {inputs.experiment!r} was renamed to {experiment!r}; the study is there"))
        same = current_study(known, digest)
        resumed = same is not None and not fresh
        if same is not None and not fresh:
            run = StudyRun.resume(store, same, origin.dataset)
        else:
            if same is not None and same.runs and same.owner is not None:
                raise same.owner.error(f"study {same.digest} of {same.experiment!r}")
            generation = same.generation + 1 if same else 1
            run = StudyRun.begin(store, experiment, origin, generation=generation)
        with closing(run):
            run.start(origin)
            close_left(store, run.record, cache_dir=inputs.cache_dir)
            attempts = open_attempts(store, run.record) if resumed else []
            agenda = Agenda(
                card,
                attempts,
                max_trials=_limit(card, max_trials),
                # The figures were published for these photos; beside others they would mislead.
                show_published=inputs.dataset.name == CLOTHING,
            )
            features = inputs.features
            trials_ended = len(agenda.ended)
            lesson = open_lesson(inputs, run)
            cost = estimate_cost(inputs, lesson.features, trials_ended=trials_ended, limit=agenda.max_trials)
            require_disk(cost, store=store, cache_dir=inputs.cache_dir)
            plan = make_plan(
                inputs,
                store,
                run.record,
                cost,
                trials_ended=trials_ended,
                limit=agenda.max_trials,
                resumed=resumed,
                changed=() if same or not known else differences(known[0].parts, inputs.study.parts()),
            )
            report(plan)
            report_deleted(agenda, report)
            log_views(inputs, run)
            refs = each_once([*features.of_card(), *lesson.features])
            if seconds := computed_features(inputs, refs, workers[0], report):
                run.log({"seconds_features": seconds}, step=trials_ended)
            Coordinator(
                card,
                run,
                agenda=agenda,
                workers=workers,
                features=features,
                weights=inputs.weights,
                targets=answered(inputs, run, lesson, workers[0], report),
                report=report,
            ).run()
        return read_study(store, run.run_id) or run.record  # as it has ended


def _limit(card: Card, max_trials: int | None) -> int | None:
    if max_trials is not None:
        return max_trials
    return card.search.max_trials if card.search else len(card.configurations)
