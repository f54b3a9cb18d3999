"""The study that a final run goes on from, or a teacher comes from: found, and fit for that; read-only."""

from __future__ import annotations

from fashion_tuning.errors import DataError, UsageError, WeightsError
from fashion_tuning.study.inputs import StudyInputs
from fashion_tuning.study.lookup import find_own_studies
from fashion_tuning.study.recorded import read_recorded
from fashion_tuning.tracking.records import StudyRecord, current_study
from fashion_tuning.tracking.store import Store


def finished_study(store: Store, inputs: StudyInputs, study: StudyRecord | None) -> StudyRecord | None:
    """The study that a person named, or the one of a card; None for a card that fixes its configuration.

    Args:
      inputs: The card with the photos and weights that are here.
      study: The study, where it was named.

    Raises:
      UsageError: There is no study of this card, or it was not finished.
      StudyOwnedError: A live process still works on it.
      DataError, WeightsError: Photos or weights are not those that it was run on.
    """
    if study is None:
        if inputs.card.is_fixed:
            return None
        digest = inputs.study.digest
        _, known = find_own_studies(store, inputs.experiment, digest, card_name=inputs.card.name)
        study = current_study(known, digest)
    if study is None:
        raise UsageError(
            f"no study of this card {inputs.card.name!r} with these photos and weights in {store.uri}",
            expected="a finished study, or a card of one configuration without a search",
            action="fashion-tuning tune with the same card makes it",
        )
    require_finished(study)
    keys = read_recorded(store, study).keys
    manifest = next(iter(keys.values())).manifest
    if inputs.dataset.manifest.digest != manifest:
        raise DataError(
            f"the photos in {inputs.dataset.root} have manifest {inputs.dataset.manifest.digest}",
            expected=f"those of the study, manifest {manifest}",
            action="name their folder with --data",
        )
    for name, key in keys.items():
        if inputs.weights[name].digest != key.weights:
            raise WeightsError(
                f"the weights of {name} here have digest {inputs.weights[name].digest}",
                expected=f"the study's, {key.weights}",
            )
    return study


def require_finished(study: StudyRecord) -> None:
    """Makes sure that a study has come to its end.

    Raises:
      UsageError: It has trials to come.
      StudyOwnedError: A live process still works on it.
    """
    if study.runs and study.owner is not None:
        raise study.owner.error(f"study {study.digest} of {study.experiment!r}")
    if study.status != "FINISHED":
        raise UsageError(
            f"study {study.digest} of {study.experiment!r} is {study.status}: it has trials to come",
            expected="a finished study",
            action="fashion-tuning tune with the same card finishes it; --max-trials N ends it sooner",
        )
