"""Photos of a data set and, beside them, what people have labelled since: that joins train and nothing else."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from fashion_tuning.data.labels import composed, labels_of, lookalikes, shown_apart
from fashion_tuning.data.listing import LeftOut, is_folder, list_files, list_folders, list_loose, read_file
from fashion_tuning.data.manifest import Manifest
from fashion_tuning.data.verify import MAX_LEFT_OUT
from fashion_tuning.errors import DataError
from fashion_tuning.files import disk_errors
from fashion_tuning.paths import expand

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


def labelled_photos(folder: Path, classes: Collection[str]) -> tuple[list[tuple[Path, str, str]], tuple[LeftOut, ...]]:
    """List (file, label, sha256) of a labelled folder's photos, and what is none; read-only.

    Raises:
      DataError: It is no such folder, has a class that the data set has not, or can't be read.
    """
    folder = Path(os.path.realpath(expand(folder)))
    if not is_folder(folder):
        raise DataError(f"no folder {folder}", expected=_LAYOUT, action="name another with the second --data")
    known = {composed(label): label for label in classes}
    names = list(labels_of(folder, {"": list_folders(folder)}))
    unknown = [name for name in names if composed(name) not in known]
    if unknown or not names:
        problem = "no sub-folder"
        if unknown:
            (name, *_), alike = unknown, lookalikes(unknown[0], classes)
            first, second = shown_apart(name, alike[0]) if alike else (repr(name), "")
            problem = f"a class {first}" + (f", the data set {second}" if alike else "")
        raise DataError(
            f"the folder {folder} has {problem}",
            expected=f"{_LAYOUT}, named {', '.join(sorted(classes))}",
            action="rename it, or name another folder with the second --data",
        )
    photos: list[tuple[Path, str, str]] = []
    unreadable: list[LeftOut] = []
    left_out = [LeftOut(str(folder / name), "in no class's folder") for name in list_loose(folder)]
    for name in names:
        listing = list_files(folder, name)
        left_out += [LeftOut(str(folder / entry.path), entry.reason) for entry in listing.left_out]
        for path in (folder / inside for inside in listing.files):
            try:
                photos.append((path, known[composed(name)], hashlib.sha256(read_file(path)).hexdigest()))
            except OSError as error:
                unreadable.append(LeftOut(str(path), error.strerror or str(error)))
    if len(unreadable) > MAX_LEFT_OUT * (len(photos) + len(unreadable)):
        raise DataError(
            f"{len(unreadable)} files in {folder} can't be read, such as {unreadable[0].path}: {unreadable[0].reason}",
            expected=f"at most {MAX_LEFT_OUT:.0%} unusable files",
            action="repair or remove these files",
        )
    return photos, (*left_out, *unreadable)


def _flat(path: str, split: str, label: str) -> str:
    """A photo's place below its class; the folders above it may stand for something else in a layout by classes."""
    parts = path.split("/")
    for above in ([split, label], [label]):
        if [composed(part) for part in parts[: len(above)]] == [composed(part) for part in above]:
            return "/".join(parts[len(above) :])
    return path


def _link(place: Path, target: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
