"""Photos of a data set and, beside them, what people have labelled since: that joins train and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from fashion_tuning.data.manifest import Manifest
from fashion_tuning.errors import DataError
from fashion_tuning.files import disk_errors, sha256_of

# Raise it when a change of this module puts another file into the folder.
JOINED_VERSION: Final = 1
_LAYOUT: Final = "one sub-folder per class, as fashion-tuning feedback export writes it"


def join_photos(root: Path, manifest: Manifest, others: Sequence[tuple[Path, str, str]], *, cache_dir: Path) -> Path:
    """A folder of links to all photos of a data set, and to others as train photos; its name is that of its content.

    Args:
      root, manifest: The data set.
      others: (file, label, sha256); a file of the data set's own, byte for byte, is left out.

    Raises:
      DiskError: cache_dir can't be written.
    """
    known = {photo.sha256 for photo in manifest.photos}
    added = {sha256: (path, label) for path, label, sha256 in others if sha256 not in known}
    content = repr((JOINED_VERSION, str(root), manifest.digest, sorted((key, str(one)) for key, one in added.items())))
    target = cache_dir.resolve() / "photos" / f"joined-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    if target.is_dir():
        return target
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=target.parent, prefix=".joining-", ignore_cleanup_errors=True) as scratch:
            folder = Path(scratch) / target.name
            for photo in manifest.photos:
                inside = Path(photo.split, photo.label, _flat(photo.path, photo.split, photo.label))
                _link(folder / inside, root / photo.path)
            for sha256, (path, label) in added.items():
                _link(folder / "train" / label / f"joined-{sha256[:32]}{path.suffix.lower()}", path)
            try:
                folder.rename(target)
            except OSError:
                if not target.is_dir():  # else another process has made the same folder meanwhile
                    raise
    return target


def labelled_photos(folder: Path, labels: Collection[str]) -> list[tuple[Path, str, str]]:
    """(file, label, sha256) of all visible files in a labelled folder, sorted by path; read-only.

    Raises:
      DataError: It is no such folder, or has a class that the data set has not.
    """
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        raise DataError(f"no folder {folder}", expected=_LAYOUT, action="name another with the second --data")
    classes = sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))
    unknown = [one.name for one in classes if one.name not in labels]
    if unknown or not classes:
        raise DataError(
            f"the folder {folder} has {f'a class {unknown[0]!r}' if unknown else 'no sub-folder'}",
            expected=f"{_LAYOUT}, named {', '.join(sorted(labels))}",
            action="name another folder with the second --data",
        )
    try:
        return [
            (path, one.name, sha256_of(path))
            for one in classes
            for path in sorted(one.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        ]
    except OSError as error:
        raise DataError(f"{error.filename} can't be read: {error.strerror}") from error


def _flat(path: str, split: str, label: str) -> str:
    """A photo's place below its class; the folders above it may stand for something else in a layout by classes."""
    for prefix in (f"{split}/{label}/", f"{label}/"):
        if path.startswith(prefix):
            return path.removeprefix(prefix)
    return path


def _link(place: Path, target: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
