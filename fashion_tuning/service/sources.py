"""Where the model that answers comes from: a folder or a registered version, looked at again while it is served."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from fashion_tuning.errors import UsageError
from fashion_tuning.files import sha256_of
from fashion_tuning.model.checkpoint import BrokenCheckpointError
from fashion_tuning.model.shipped import read_card
from fashion_tuning.service.loaded import ENGINES, Loaded, load_classifier

_INSIDE = ("model.keras", "data/model.keras")  # of a folder, and of one that MLflow made


class Source(Protocol):
    """What a server is told to serve."""

    def newest(self) -> str:
        """What names the model that it should serve now; cheap, read-only."""

    def load(self) -> Loaded:
        """That model."""


class FolderSource:
    """A model's .keras file, or a folder with one: as MLflow keeps it, or as somebody copied it."""

    def __init__(self, path: Path, *, engine: str) -> None:
        self._path = path
        self._engine = engine

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
            threshold = read_card(path).unsure_below
            classifier, engine, note = load_classifier(path, self._engine)
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


def find_source(model: str, *, engine: str, tracking_uri: str | None, patience: float) -> Source:
    """What a person means by --model: what exists as a path is one.

    Raises:
      UsageError: The engine's name is none, or there is no store.
    """
    if engine not in ENGINES:
        raise UsageError(f"engine {engine!r}", expected=f"one of {', '.join(ENGINES)}")
    path = Path(model)
    if path.exists() or path.suffix == ".keras":
        return FolderSource(path, engine=engine)
    # MLflow takes seconds to import, and a folder needs none of it.
    from fashion_tuning.service.registered_source import RegisteredSource
    from fashion_tuning.tracking.store import Store

    return RegisteredSource(Store(tracking_uri, must_exist=True, patience=patience), model, engine=engine)
