"""What is a photo: the one rule by which files and folders are taken, passed over or left out; read-only.

README has it as a table, under "What is a photo". Whether a file that is taken can be read, `verify` and `decode` say.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from fashion_tuning.errors import DataError

NUM_NAMED: Final = 5
_MAX_LISTED: Final = 20
# Passed over without a word, as is every name that begins with one of HIDDEN; in lower case.
SYSTEM_NAMES: Final = frozenset(
    {
        *("lost+found",),  # Linux
        *("__macosx", "icon\r", "network trash folder", "temporary items"),  # macOS
        *("thumbs.db", "thumbs.db:encryptable", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "zbthumbnail.info"),
        *("$recycle.bin", "system volume information"),  # Windows
        *("@eadir", "@tmp", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@__thumb", "~snapshot"),  # NAS
        *("__pycache__",),  # Python
        *("mlruns", "mlartifacts"),  # MLflow
    }
)
# "." hides a name, of which .DS_Store, ._*, .Trash-1000, .directory, .@__thumb, .ipynb_checkpoints and .stfolder are
# some. Word and Syncthing write the next two beside a file; the last is MLflow's database and what SQLite adds to it.
HIDDEN: Final = (".", "~$", "~syncthing~", "mlflow.db")
# Left out with a line, for they are meant to lie beside photos. Pictures that can't be read here (HEIC, raw ones,
# SVG) are not among them: that they are missing has to be told, and counted.
_SIDECARS: Final = """
.json .jsonl .ndjson .xml .txt .csv .tsv .yaml .yml .toml .ini .cfg .md .rst .html .htm .pdf .doc .docx .xls .xlsx
.xmp .aae .thm .info .log .lnk .url .webloc .py .ipynb .sh .bat .db .sqlite .sqlite3 .npy .npz .pkl .pt .h5 .hdf5
.keras .onnx .tflite .bin .parquet .tfrecord .zip .tar .gz .7z .rar .mov .mp4 .m4v .avi .mkv .webm .3gp .wav .mp3 .m4a
"""
SIDECARS: Final = frozenset(_SIDECARS.split())
_MARKS: Final = frozenset({"saved_model.pb", "pyvenv.cfg"})  # of an export, and of an environment of Python
_OF_CACHE: Final = frozenset({"features", "manifests", "weights"})  # of this program
_CACHE: Final = _OF_CACHE | {"photos", "locks"}
_CACHE_TAG: Final = "CACHEDIR.TAG"  # of any other
_CACHE_SIGNATURE: Final = b"Signature: 8a477f597d28d172789f06886806bc55"  # bford.info/cachedir
_PAGE: Final = "report.html"
_FILE: Final = "file"
_FOLDER: Final = "folder"


@dataclass(frozen=True)
class LeftOut:
    """A file and why it is not used, or what is remarkable about it."""

    path: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """What lies at any depth below a folder; paths are POSIX, relative to that folder, in order.

    Args:
      files: What may be a photo, broken links and unreadable files among them: reading them says so.
      left_out: What is none, whatever it holds.
    """

    files: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


def list_files(root: Path, inside: str = "") -> Listing:
    """List what may be a photo at any depth below root, or below a folder inside it.

    Links are followed, to files and to folders, but not back to a folder that they lie in.

    Raises:
      DataError: A folder can't be read.
    """
    files: list[str] = []
    left_out: list[LeftOut] = []
    # With the folders above root: a link to one of them would lead all over the disk, and back.
    waiting = [(inside, _lineage(root) | _lineage(root / inside))]
    while waiting:
        folder, above = waiting.pop()
        entries = _entries(root / folder)
        if folder != inside and _is_output(root / folder, [name for name, _ in entries]):
            continue
        for name, kind in entries:
            path = f"{folder}/{name}" if folder else name
            suffix = PurePosixPath(name).suffix.lower()
            if kind == _FOLDER:
                if (identity := _identity(root / path)) in above:
                    left_out.append(LeftOut(path, "a link to a folder that it lies in"))
                else:
                    waiting.append((path, above | {identity}))
            elif kind != _FILE:
                left_out.append(LeftOut(path, f"{kind}, not a file"))
            elif suffix in SIDECARS:
                left_out.append(LeftOut(path, f"a {suffix} file, not a photo"))
            else:
                files.append(path)
    return Listing(tuple(sorted(files, key=_parts)), tuple(sorted(left_out, key=lambda entry: _parts(entry.path))))


def list_folders(folder: Path) -> list[str]:
    """List the folders, and links to folders, in a folder that may hold photos.

    Raises:
      DataError: The folder, or one of them, can't be read.
    """
    names = [name for name, kind in _entries(folder) if kind == _FOLDER]
    above = _lineage(folder)
    return [name for name in names if _identity(folder / name) not in above and not _holds_outputs(folder / name)]


def list_loose(folder: Path) -> list[str]:
    """List what lies beside the folders of a folder: files but sidecars, and links back.

    Raises:
      DataError: The folder can't be read.
    """
    above = _lineage(folder)
    return [
        name
        for name, kind in _entries(folder)
        if (kind == _FILE and PurePosixPath(name).suffix.lower() not in SIDECARS | {""})
        or (kind == _FOLDER and _identity(folder / name) in above)
    ]


def read_file(path: Path) -> bytes:
    """Read a file, or a pipe that somebody writes to, and refuse anything else unopened.

    Raises:
      OSError: It can't be read; `strerror` says why.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise FileNotFoundError(errno.ENOENT, "a link to nothing", str(path)) from None
        raise
    if stat.S_ISFIFO(mode):
        return _read_pipe(path)
    if special := _special(mode):
        raise OSError(errno.EINVAL, f"{special}, not a file", str(path))
    return path.read_bytes()


def describe_entries(entries: Iterable[LeftOut]) -> list[str]:
    """Word each file and why in a line; of many with one reason the first few."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        by_reason[entry.reason].append(entry.path)
    lines = []
    for reason, paths in by_reason.items():
        shown = paths if len(paths) <= _MAX_LISTED else paths[:NUM_NAMED]
        lines += [f"{path}: {reason}" for path in shown]
        if len(shown) < len(paths):
            lines.append(f"and {len(paths) - len(shown):,} more: {reason}")
    return lines


def is_folder(path: Path) -> bool:
    """Tell whether a path leads to a folder; False where that can't be seen."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):  # ValueError: a null character in the name
        return False


def _entries(folder: Path) -> list[tuple[str, str]]:
    """(name, kind) of what is not passed over, sorted; a link's kind is its target's, _FILE where that is missing."""
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not _is_passed_over(entry.name)]
    except OSError as error:
        raise _unreadable(folder, error) from error
    return sorted((entry.name, _kind(entry)) for entry in shown)


def _is_passed_over(name: str) -> bool:
    return name.lower().startswith(HIDDEN) or name.lower() in SYSTEM_NAMES


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_file(follow_symlinks=False):  # known without asking for each file of a large folder
        return _FILE
    try:
        mode = entry.stat().st_mode
    except OSError:  # a link to nothing, or to itself
        return _FILE
    return _FOLDER if stat.S_ISDIR(mode) else _special(mode) or _FILE


def _special(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a pipe"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else ""


def _lineage(folder: Path) -> frozenset[tuple[int, int]]:
    """A folder and all that it lies in, links resolved."""
    real_path = Path(os.path.realpath(folder))
    return frozenset(_identity(parent) for parent in (real_path, *real_path.parents))


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError as error:
        raise _unreadable(folder, error) from error
    return status.st_dev, status.st_ino


def _unreadable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"the folder {folder} can't be read: {error.strerror}",
        expected="a folder that can be read, with all that is in it",
        action="change who may read it, or name another folder",
    )


def _parts(path: str) -> list[str]:
    return path.split("/")


def _holds_outputs(folder: Path) -> bool:
    """Whether a folder is an output, or has nothing but outputs in it, as reports/ has."""
    entries = _entries(folder)
    names = [name for name, _ in entries]
    if _is_output(folder, names):
        return True
    if not names or any(kind != _FOLDER for _, kind in entries):
        return False
    return all(_is_output(folder / name, [entry_name for entry_name, _ in _entries(folder / name)]) for name in names)


def _is_output(folder: Path, names: Sequence[str]) -> bool:
    """Whether a program has written a folder, by what is in it: its name says nothing, a class may have the same.

    Args:
      names: What is in it.
    """
    present = set(names)
    if present & _MARKS or (present & _OF_CACHE and present <= _CACHE):
        return True
    if _CACHE_TAG in present:
        with suppress(OSError):
            return read_file(folder / _CACHE_TAG).startswith(_CACHE_SIGNATURE)
    # A report: one page, and each figure as PNG and as SVG. No photo of anybody's fits into that.
    figures = [PurePosixPath(name) for name in present - {_PAGE}]
    return _PAGE in present and all(
        figure.suffix in (".png", ".svg") and figure.with_suffix(".svg").name in present for figure in figures
    )


def _read_pipe(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # else this waits for a writer
    with os.fdopen(descriptor, "rb") as pipe:
        try:
            first = os.read(descriptor, 1)
        except BlockingIOError:
            first = None
        if first == b"":
            raise OSError(errno.EPIPE, "a pipe that nobody writes to", str(path))
        os.set_blocking(descriptor, True)
        return (first or b"") + pipe.read()
