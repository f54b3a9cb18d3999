"""Opening a store: a local one is made where there is none, and finds its artifacts where its database lies."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir, mkdtemp

from mlflow.tracking import MlflowClient

from fashion_tuning.errors import DiskError, StoreError, UsageError
from fashion_tuning.files import SCRATCH, disk_errors
from fashion_tuning.paths import make_legible
from fashion_tuning.tracking.connecting import connect
from fashion_tuning.tracking.database import alone, can_write, copied, make_database, require_file, sqlite_file
from fashion_tuning.tracking.location import LeftBehindError, bring_home
from fashion_tuning.tracking.patience import Patience

OPENING = 20.0  # seconds: a server that was never there is rather a mistake than an outage


class Opening:
    """An opened store.

    A local database is made under a file lock: MLflow's own creation fails where two processes start at once. It is
    in write-ahead mode, so that readers and the writer do not wait for each other (sqlite.org/wal.html). Whoever
    may not write it reads a copy.

    Args:
      uri: The store's, as `resolve_uri` gives it.
      must_exist: Refuse a local database that is not there, for those who only read.
      seconds: How long to wait for a process that opens it as well; `tell` is given a line about that.

    Attributes:
      uri: What is opened: the store's, or that of the copy.

    Raises:
      UsageError: must_exist, and there is none.
      StoreError: The store can't be opened.
      DiskError: A local store can't be written.
    """

    def __init__(
        self, uri: str, patience: Patience, *, must_exist: bool, seconds: float, tell: Callable[[str], None]
    ) -> None:
        self.uri = uri
        self._patience = patience
        self._only_read = must_exist
        self._seconds = seconds
        self._tell = tell
        self._reads_copy = False
        self._database = sqlite_file(uri)
        if self._database is None:
            self.client = patience.run(lambda: connect(uri), seconds=OPENING)
            return
        _require_place(uri, self._database, must_exist=must_exist)
        if must_exist and not can_write(self._database):
            self._read_copy(self._database)
        try:
            self.client = self._connect_alone(self._database)
        except (DiskError, LeftBehindError):
            if not must_exist or self._reads_copy:
                raise
            self._read_copy(self._database)
            self.client = self._connect_alone(self._database)

    def _read_copy(self, database: Path) -> None:
        with disk_errors(Path(gettempdir()), instead=SCRATCH):
            folder = mkdtemp(prefix="fashion-tuning-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            self.uri = copied(database, Path(folder))
        self._reads_copy = True

    def _connect_alone(self, database: Path) -> MlflowClient:
        opened = sqlite_file(self.uri) or database
        with alone(opened.parent, seconds=self._seconds, tell=self._tell):
            if not self._only_read:
                self._patience.run(lambda: make_database(database))
            client = self._patience.run(lambda: connect(self.uri))
            self._patience.run(lambda: bring_home(self.uri, database, only_read=self._reads_copy))
        return client


def _require_place(uri: str, database: Path, *, must_exist: bool) -> None:
    if make_legible(database) != str(database):
        raise StoreError(
            f"MLflow can't keep artifacts in {make_legible(database.parent)}: that name is not UTF-8",
            expected="a folder with a name in UTF-8",
            action="rename the folder, or name a store in another one: --tracking-uri sqlite:////FOLDER/mlflow.db",
        )
    require_file(database)
    if must_exist and not database.exists():
        raise UsageError(
            f"no tracking store {uri}",
            expected="a store with a study",
            action="fashion-tuning tune experiments/xception_150.toml makes one; or go where it was run",
        )
