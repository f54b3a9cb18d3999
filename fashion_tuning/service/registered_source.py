"""A registered version as the model that answers, followed as its alias moves."""

from __future__ import annotations

from fashion_tuning.errors import StoreError
from fashion_tuning.model.shipped import read_card
from fashion_tuning.service.loaded import Loaded, answers_as_measured, load_model
from fashion_tuning.service.readable import readable
from fashion_tuning.tracking import registry
from fashion_tuning.tracking.registry import Version
from fashion_tuning.tracking.store import Store


class RegisteredSource:
    """NAME, NAME@ALIAS or NAME/VERSION in a store; all but the last may come to mean another version later."""

    def __init__(self, store: Store, model: str, *, engine: str, average_views: bool | None) -> None:
        self._store = store
        self._model = model
        self._engine = engine
        self._average_views = average_views

    def newest(self) -> str:
        return str(registry.require_version(self._store, self._model))

    def load(self) -> Loaded:
        """The version that is meant now, its file held to the digest in the registry.

        Raises:
          UsageError: There is none, or the engine is not installed.
          StoreError: Its file is gone, damaged, or not the one that was registered.
        """
        version = registry.require_version(self._store, self._model)
        with readable(version), registry.model_file(self._store, version) as path:
            classifier, engine, note = load_model(path, self._engine, average_views=self._average_views)
            measured, threshold = answers_as_measured(path, classifier), read_card(path).unsure_below
        if not measured:
            threshold = None
        elif threshold is None:
            threshold = self._recorded_threshold(version)
        return Loaded(version.name, version.number, classifier, engine, threshold, version.is_drawn, note)

    def _recorded_threshold(self, version: Version) -> float | None:
        """For files of before it stood inside: from the kept validation predictions, where the store has them."""
        from fashion_tuning.service.registered import find_registered  # and scikit-learn, which nothing else here needs
        from fashion_tuning.study.best_epoch import unsure_below

        try:
            registered = find_registered(self._store, str(version).replace(" version ", "/"))
            return unsure_below(self._store, registered.subject.winner)
        except StoreError:
            return None
