"""Where the model that answers comes from: a folder or a registered version, looked at again while it is served."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from fashion_tuning.errors import UsageError
from fashion_tuning.files import sha256_of
from fashion_tuning.model.checkpoint import BrokenCheckpointError
from fashion_tuning.model.shipped import read_card
from fashion_tuning.paths import expand
from fashion_tuning.service.loaded import ENGINES, Loaded, answers_as_measured, load_model

_INSIDE = ("model.keras", "data/model.keras")  # of a folder, and of one that MLflow made


class Source(Protocol):
    """What a server is told to serve."""

    def newest(self) -> str:
        """What names the model that it should serve now; cheap, read-only."""

    def load(self) -> Loaded:
        """That model."""


class FolderSource:
    """A model's .keras file, or a folder with one: as MLflow keeps it, or as somebody copied it."""

    def __init__(self, path: Path, *, engine: str, average_views: bool | None) -> None:
        self._path = path
        self._engine = engine
        self._average_views = average_views

    def newest(self) -> str:
        status = self._file().stat()
        return f"{self._path} {status.st_size} {status.st_mtime_ns}"

    def load(self) -> Loaded:
        """The model in that folder.

        Raises:
          UsageError: There is none, or it is damaged, or the engine is not installed.
        """
        path = self._file()
        try:
            classifier, engine, note = load_model(path, self._engine, average_views=self._average_views)
            threshold = read_card(path).unsure_below if answers_as_measured(path, classifier) else None
        except BrokenCheckpointError as error:
            raise UsageError(
                str(error), expected="a model of this program", action="name another with --model"
            ) from error
        return Loaded(self._path.absolute().stem, sha256_of(path)[:12], classifier, engine, threshold, note=note)

    def _file(self) -> Path:
        if self._path.is_file():
            return self._path
        for inside in _INSIDE:
            if (self._path / inside).is_file():
                return self._path / inside
        raise UsageError(
            f"no model in {self._path}",
            expected=f"a .keras file, or a folder with {' or '.join(_INSIDE)}",
            action="fashion-tuning final-train makes a registered one; name it with --model",
        )


def find_source(
    model: str, *, engine: str, average_views: bool | None, tracking_uri: str | None, patience: float
) -> Source:
    """What a person means by --model: what exists as a path is one.

    Raises:
      UsageError: The engine's name is none, or there is no store.
    """
    if engine not in ENGINES:
        raise UsageError(f"engine {engine!r}", expected=f"one of {', '.join(ENGINES)}")
    path = expand(model)
    if path.exists() or path.suffix == ".keras":
        return FolderSource(path, engine=engine, average_views=average_views)
    # MLflow takes seconds to import, and a folder needs none of it.
    from fashion_tuning.service.registered_source import RegisteredSource
    from fashion_tuning.tracking.store import Store

    store = Store(tracking_uri, must_exist=True, patience=patience)
    return RegisteredSource(store, model, engine=engine, average_views=average_views)
