"""Where the photos come from: a folder that somebody named, the cache, or GitHub."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from fashion_tuning.data.download import COMMIT, NAME, download_photos, shipped_manifest
from fashion_tuning.data.drawn import DRAWN_VERSION, draw_dataset, drawn_manifest
from fashion_tuning.data.joined import join_photos, labelled_photos
from fashion_tuning.data.manifest import SPLITS, Manifest, Photo
from fashion_tuning.data.split import split_class_folders
from fashion_tuning.data.verify import NUM_NAMED, Candidate, Progress, Verification, verified
from fashion_tuning.errors import DataError, FashionTuningError
from fashion_tuning.files import disk_errors, sha256_of
from fashion_tuning.locks import locked

_logger = logging.getLogger(__name__)

DRAWN_NAME: Final = "drawn-garments"
LAYOUTS: Final = "a folder with train/, validation/ and test/, each with one sub-folder per class, or one per class"
# Written by file managers; a class folder's other files are all looked at, whatever their ending.
SIDECARS: Final = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
# A folder of this name at the top is part of a split layout, never a class.
_SPLIT_NAMES: Final = frozenset({*SPLITS, "val", "valid", "training", "testing"})


@dataclass(frozen=True)
class Dataset:
    """Verified photos and where they lie.

    `name` is "clothing-dataset-small", "drawn-garments" or the folder's name; `kind` is
    "folder" (named by the user), "archive" (downloaded into the cache) or "drawn".
    """

    name: str
    root: Path
    kind: str
    verification: Verification

    @property
    def manifest(self) -> Manifest:
        return self.verification.manifest

    def path(self, photo: Photo) -> Path:
        """Where a photo of the manifest lies."""
        return self.root / photo.path


def open_dataset(
    data_dir: Path | None,
    *,
    cache_dir: Path,
    joining: Sequence[Path] = (),
    progress: Progress | None = None,
    download_progress: bool = False,
) -> Dataset:
    """Finds and verifies the photos: data_dir if named, else the cache, else GitHub's archive.

    Writes below cache_dir: manifests/ (what was verified) and photos/ (what was downloaded). Photos in
    the cache that were changed are set aside and downloaded again; data_dir is never touched.

    Args:
      joining: Labelled folders whose photos join train; the whole then is a data set of its own below cache_dir.
      progress: Called with (files verified, files in all).
      download_progress: Shows a bar on the terminal while the archive comes.

    Raises:
      DataError: data_dir is none of the two layouts, or its photos are unusable; it is never replaced.
      PhotosUnreachableError: no data_dir, nothing cached, and the download did not work.
      DiskError: cache_dir can't be written.
    """
    shipped = shipped_manifest()
    if joining:
        base = open_dataset(data_dir, cache_dir=cache_dir, progress=progress, download_progress=download_progress)
        others = [one for folder in joining for one in labelled_photos(folder, base.manifest.classes)]
        root = join_photos(base.root, base.manifest, others, cache_dir=cache_dir)
        verification = verified(root, _candidates(root), cache_dir=cache_dir, progress=progress)
        return Dataset(f"{base.name} and {', '.join(one.name for one in joining)}", root, "folder", verification)
    if data_dir is not None:
        root = data_dir.expanduser().resolve()
        verification = verified(root, _candidates(root), cache_dir=cache_dir, progress=progress)
        known = verification.manifest.digest == shipped.digest
        return Dataset(NAME if known else root.name, root, "folder", verification)
    root = cache_dir.resolve() / "photos" / f"{NAME}-{COMMIT[:12]}"
    verification = _made(
        root,
        lambda: download_photos(root, progress=download_progress),
        lambda: shipped,
        cache_dir=cache_dir,
        progress=progress,
    )
    return Dataset(NAME, root, "archive", verification)


def open_drawn(*, cache_dir: Path, progress: Progress | None = None) -> Dataset:
    """The drawn garments, drawn into the cache where they are not there as they were drawn, and verified.

    Raises:
      DiskError: cache_dir can't be written.
    """
    root = cache_dir.resolve() / "photos" / f"{DRAWN_NAME}-{DRAWN_VERSION}"
    verification = _made(
        root,
        lambda: draw_dataset(root, progress=progress),
        lambda: drawn_manifest(root),
        cache_dir=cache_dir,
    )
    return Dataset(DRAWN_NAME, root, "drawn", verification)


def _made(
    root: Path,
    make: Callable[[], None],
    expected: Callable[[], Manifest | None],
    *,
    cache_dir: Path,
    progress: Progress | None = None,
) -> Verification:
    """The photos in a folder of the cache, verified; where they are not as they were made, they are made again.

    The changed folder is renamed to *.broken, which is logged as a warning; it stays in its place
    where the photos can't be made again.

    Args:
      make: Fills root where it does not exist, with all of it or nothing.
      expected: What it has filled root with, None where that can't be said.

    Raises:
      DataError: The photos were changed and can't be made again.
    """

    def look() -> Verification:
        return verified(root, _candidates(root), cache_dir=cache_dir, progress=progress)

    make()
    seen, manifest = _identity(root), expected()
    with suppress(DataError):  # looking again below raises it again, where the photos are not at fault
        verification = look()
        if verification.manifest == manifest:
            return verification
    if manifest is None or not _holds(root, manifest):
        with disk_errors(root), locked(root.with_name(f".{root.name}.mend.lock")):
            if seen is not None and seen == _identity(root):  # else another process has mended it meanwhile
                _make_again(root, make)
    verification = look()
    if verification.manifest != expected():
        left_out = "".join(f"; {one.path}: {one.reason}" for one in verification.left_out[:NUM_NAMED])
        raise DataError(
            f"the photos in {root} are as they were made, but they can't be used as they are{left_out}",
            expected="that Pillow reads all of them",
            action="reinstall Pillow",
        )
    return verification


def _holds(root: Path, manifest: Manifest) -> bool:
    """Whether a folder has the photos of a manifest, byte for byte, and no other file; read-only."""
    try:
        digests = {path: sha256_of(root / path) for path, _, _ in _candidates(root)}
    except (OSError, DataError):
        return False
    return digests == {photo.path: photo.sha256 for photo in manifest.photos}


def _identity(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another one that takes its name; None where it is gone."""
    try:
        status = folder.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _make_again(folder: Path, make: Callable[[], None]) -> None:
    """Renames a folder to <name>.broken, or to .broken-2 and so on where that is taken, and fills it anew."""
    aside = folder.with_name(f"{folder.name}.broken")
    for number in count(2):
        if not os.path.lexists(aside):
            break
        aside = folder.with_name(f"{folder.name}.broken-{number}")
    folder.rename(aside)
    _logger.warning("%s was changed since it was filled; it is now %s, and filled again", folder, aside.name)
    try:
        make()
    except FashionTuningError as error:
        aside.rename(folder)
        if not isinstance(error, DataError):
            raise
        # Never as PhotosUnreachableError: there were photos, and drawn garments are no answer to that.
        raise DataError(
            f"the photos in {folder} were changed since they were put there, and {error.received}",
            expected="the photos as they were",
            action="connect and type the same command again, or name another folder with --data",
        ) from error


def _candidates(root: Path) -> list[Candidate]:
    """All files that may be photos, with label and split, sorted by path."""
    if not root.exists():
        raise _wrong_folder(root, "does not exist")
    if not root.is_dir():
        raise _wrong_folder(root, "is a file")
    folders = _folders(root)
    split_folders = [name for name in folders if name.lower() in _SPLIT_NAMES]
    if set(SPLITS) <= set(folders):
        labels = {label for split in SPLITS for label in _folders(root / split)}
        rows = [
            (path, label, split)
            for split in SPLITS
            for label in _folders(root / split)
            for path in _files(root, f"{split}/{label}")
        ]
        _refuse_empty(root, labels - {label for _, label, _ in rows})
        return sorted(rows)
    if split_folders:
        missing = ", ".join(f"{split}/" for split in SPLITS if split not in folders)
        raise _wrong_folder(root, f"holds {', '.join(f'{name}/' for name in split_folders)} but no {missing}")
    if not folders:
        num_files = sum(1 for _ in root.iterdir())
        raise _wrong_folder(root, f"holds {num_files} files and no sub-folder" if num_files else "is empty")
    if len(folders) == 1 and set(SPLITS) <= set(_folders(root / folders[0])):
        raise _wrong_folder(root, "holds one folder with the splits inside", action=f"name {root / folders[0]} instead")
    by_label = {label: list(_files(root, label)) for label in folders}
    _refuse_empty(root, {label for label, paths in by_label.items() if not paths})
    return split_class_folders(by_label)


def _refuse_empty(root: Path, labels: set[str]) -> None:
    if labels:
        raise _wrong_folder(
            root,
            f"holds no file for the class {', '.join(repr(label) for label in sorted(labels)[:5])}",
            action="add photos, or remove the empty folder",
        )


def _folders(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if path.is_dir() and not _is_hidden(path.name))
    except OSError as error:
        raise _wrong_folder(folder, f"can't be read: {error.strerror}") from error


def _files(root: Path, folder: str) -> Iterator[str]:
    """Paths relative to root of the files at any depth below folder."""

    def unreadable(error: OSError) -> None:
        raise _wrong_folder(Path(str(error.filename)), f"can't be read: {error.strerror}") from error

    for parent, folders, names in os.walk(root / folder, onerror=unreadable):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        relative = Path(parent).relative_to(root).as_posix()
        yield from (f"{relative}/{name}" for name in names if not _is_hidden(name) and name.lower() not in SIDECARS)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _wrong_folder(folder: Path, found: str, *, action: str = "") -> DataError:
    return DataError(
        f"the data folder {folder} {found}",
        expected=LAYOUTS,
        action=action or "name the right folder with --data or FASHION_TUNING_DATA",
    )
