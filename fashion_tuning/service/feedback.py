"""What people chose: kept in one SQLite file, a picture only by consent, and given out as a labelled folder."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections import Counter, OrderedDict
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fashion_tuning.data.labels import composed
from fashion_tuning.data.listing import is_folder, list_folders
from fashion_tuning.errors import DiskError, UsageError
from fashion_tuning.files import disk_errors, replacing

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS feedback (
    id TEXT PRIMARY KEY,
    at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    suggested TEXT NOT NULL,
    probability REAL NOT NULL,
    category TEXT NOT NULL,
    image BLOB
)
"""
_STORE: Final = """
INSERT INTO feedback (id, model, version, suggested, probability, category, image) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET category = excluded.category, image = excluded.image, at = CURRENT_TIMESTAMP
"""
REMEMBERED: Final = 10_000  # answers that a choice may come for; about 300 bytes each


@dataclass(frozen=True)
class Given:
    """An answer as it was given, which a person's choice refers to; sha256 is of the picture's bytes."""

    model: str
    version: str
    suggested: str
    probability: float
    sha256: str


@dataclass(frozen=True)
class Exported:
    """What was written, by category, and how many choices came without a picture."""

    pictures: dict[str, int]
    without_picture: int


class Feedback:
    """Choices in a SQLite file, which is made where it is not there; one connection, behind a lock.

    Raises:
      UsageError: The file is something else.
      DiskError: It can't be written.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, Given] = OrderedDict()
        self._connection = _open(path)

    def remember(self, id: str, given: Given) -> None:
        """Keeps an answer in memory until a choice comes for it, or REMEMBERED newer ones."""
        with self._lock:
            self._answers[id] = given
            if len(self._answers) > REMEMBERED:
                self._answers.popitem(last=False)

    def given(self, id: str) -> Given | None:
        """The answer of this id, None where it was never given or is too old."""
        with self._lock:
            return self._answers.get(id)

    def store(self, id: str, given: Given, category: str, image: bytes | None) -> None:
        """Writes a choice; another one for the same answer takes its place.

        Args:
          image: The picture without its metadata, only where its owner consents.

        Raises:
          DiskError: The disk refuses, or another process holds the file.
        """
        row = (id, given.model, given.version, given.suggested, given.probability, category, image)
        try:
            with self._lock, self._connection:
                self._connection.execute(_STORE, row)
        except sqlite3.Error as error:
            raise DiskError(f"the feedback can't be written: {error}", expected="a disk with free space") from error

    def close(self) -> None:
        """Closes the file."""
        with self._lock:
            self._connection.close()


def export_feedback(path: Path, folder: Path) -> Exported:
    """Writes each kept picture to `folder`/CATEGORY/SHA256.jpg; a picture that stands there already stays.

    Of a picture that was chosen a category for several times the newest choice counts.

    Raises:
      UsageError: The file is not there or something else.
      DiskError: The folder can't be written.
    """
    if not path.is_file():
        raise UsageError(f"no file {path}", expected="one that fashion-tuning serve --feedback wrote")
    chosen: dict[str, tuple[str, bytes]] = {}
    without = 0
    with closing(_open(path)) as connection:
        for category, image in connection.execute("SELECT category, image FROM feedback ORDER BY at, rowid"):
            if image is None:
                without += 1
            else:
                chosen[hashlib.sha256(image).hexdigest()] = (category, image)
    instead = "name another folder"
    with disk_errors(folder, instead=instead):
        # A folder that stands there may have its name in another normal form of Unicode.
        folders = {composed(name): name for name in (list_folders(folder) if is_folder(folder) else ())}
        for digest, (category, image) in chosen.items():
            own = folders.setdefault(composed(category), category)
            for name in folders.values():
                if name != own:
                    (folder / name / f"{digest}.jpg").unlink(missing_ok=True)
            target = folder / own / f"{digest}.jpg"
            if not target.is_file():
                with replacing(target, instead=instead) as temporary:
                    temporary.write_bytes(image)
    return Exported(dict(sorted(Counter(category for category, _ in chosen.values()).items())), without)


def _open(path: Path) -> sqlite3.Connection:
    try:
        with disk_errors(path, instead="name another file with --feedback"):
            path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=5, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        with connection:
            connection.execute(_TABLE)
        connection.execute("SELECT id, category, image FROM feedback LIMIT 1")
    except sqlite3.OperationalError as error:
        raise DiskError(
            f"{path} can't be written: {error}", expected="a writable file", action="name another file with --feedback"
        ) from error
    except sqlite3.DatabaseError as error:
        raise UsageError(f"{path}: {error}", expected="a file that serve --feedback made, or a new one") from error
    return connection
