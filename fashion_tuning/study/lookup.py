"""Find a study by its name, its run id or its card; where a person has deleted or renamed it, say so."""

from __future__ import annotations

from fashion_tuning.errors import FashionTuningError, UsageError
from fashion_tuning.study.recorded import read_card
from fashion_tuning.tracking.records import StudyRecord, current_study, find_studies, read_study
from fashion_tuning.tracking.remedies import deleted_experiment_error
from fashion_tuning.tracking.removed import deleted_run_error, find_by_digest, find_deleted, find_deleted_experiment
from fashion_tuning.tracking.store import Store


def find_study(store: Store, name: str) -> StudyRecord:
    """Find the study that a name or a run id means.

    A name means the newest study run of that experiment; where there is none, of its drawn twin.

    Raises:
      UsageError: No study of that name or id.
      StoreError: It was deleted in MLflow's UI, or the store can't be read.
    """
    for experiment in (name, f"{name}-drawn"):
        studies = find_studies(store, experiment)
        if studies:
            return studies[0]
    study = read_study(store, name)
    if study is not None and not study.deleted:
        return study
    deleted = [study] if study else find_deleted(store, name) or find_deleted(store, f"{name}-drawn")
    if deleted:
        raise deleted_run_error(store, deleted[0])
    known = [studies[0] for experiment in store.experiment_names() if (studies := find_studies(store, experiment))]
    renamed = [record.experiment for record in known if _card_name(store, record) == name]
    if renamed:
        raise UsageError(
            f"no study {name!r} in {store.uri}: its experiment was renamed to {renamed[0]!r}",
            action=f"name {renamed[0]!r} in its place",
        )
    names = ", ".join(sorted(record.experiment for record in known))
    raise UsageError(
        f"no study {name!r} in {store.uri}",
        expected=f"a run id, or one of: {names}" if names else "a study; this store has none",
        action="fashion-tuning tune experiments/xception_150.toml makes one",
    )


def find_own_studies(
    store: Store, experiment: str, digest: str, *, card_name: str, kind: str = "study", fresh: bool = False
) -> tuple[str, list[StudyRecord]]:
    """Find the studies, or final runs, of a card where they stand now.

    Args:
      experiment: Named like the card, where nobody has renamed it.
      digest: Of the study that the card makes with the data and weights at hand.
      card_name: What the card is called.
      fresh: It is to be begun anew, whatever was deleted.

    Returns: What the experiment is called now, and its studies, newest first, with or without one of that digest.

    Raises:
      StoreError: The study stands nowhere but among what was deleted in MLflow's UI; or the store can't be read.
    """
    known = find_studies(store, experiment, kind=kind)
    if current_study(known, digest):
        return experiment, known
    if not known and (experiment_id := find_deleted_experiment(store, experiment)):
        raise deleted_experiment_error(experiment, experiment_id, address=store.mlflow_address)
    # A card of another name with the same settings makes a study of the same digest, which is not this one's.
    own = [
        record
        for record in find_by_digest(store, digest, kind=kind)
        if _is_of_card(store, record, experiment, card_name)
    ]
    for record in own:
        if not record.deleted:
            return record.experiment, find_studies(store, record.experiment, kind=kind)
    if own and not fresh:
        raise deleted_run_error(store, own[0])
    return experiment, known


def _is_of_card(store: Store, record: StudyRecord, experiment: str, card_name: str) -> bool:
    if record.experiment == experiment:
        return True
    same_kind = (record.photos == "drawn") == experiment.endswith("-drawn")
    return same_kind and _card_name(store, record) == card_name


def _card_name(store: Store, record: StudyRecord) -> str:
    """What the card on record is called; "" where it can't be read."""
    try:
        return read_card(store, record).name
    except FashionTuningError:
        return ""
