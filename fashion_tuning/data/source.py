"""Where the photos come from: a folder that somebody named, the cache, or GitHub."""

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Final

from fashion_tuning.data.download import COMMIT, NAME, download_photos, shipped_manifest
from fashion_tuning.data.drawn import DRAWN_VERSION, draw_dataset, drawn_manifest
from fashion_tuning.data.joined import join_photos, labelled_photos
from fashion_tuning.data.layout import read_layout
from fashion_tuning.data.listing import NUM_NAMED
from fashion_tuning.data.manifest import Manifest, Photo
from fashion_tuning.data.verify import Progress, Verification, verified
from fashion_tuning.errors import DataError, FashionTuningError
from fashion_tuning.files import disk_errors, sha256_of
from fashion_tuning.locks import locked
from fashion_tuning.paths import expand, make_legible

_logger = logging.getLogger(__name__)

DRAWN_NAME: Final = "drawn-garments"


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
        found = [labelled_photos(folder, base.manifest.classes) for folder in joining]
        others = [photo for photos, _ in found for photo in photos]
        root = join_photos(base.root, base.manifest, others, cache_dir=cache_dir)
        verification = _verified(root, cache_dir=cache_dir, progress=progress)
        left_out = (
            *base.verification.left_out,
            *(entry for _, ones in found for entry in ones),
            *verification.left_out,
        )
        verification = replace(verification, left_out=left_out)
        name = f"{base.name} and {', '.join(make_legible(one.name) for one in joining)}"
        return Dataset(name, root, "folder", verification)
    if data_dir is not None:
        root = Path(os.path.realpath(expand(data_dir)))  # resolve() stumbles over links in a circle
        verification = _verified(root, cache_dir=cache_dir, progress=progress)
        known = verification.manifest.digest == shipped.digest
        return Dataset(NAME if known else make_legible(root.name), root, "folder", verification)
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


def _verified(root: Path, *, cache_dir: Path, progress: Progress | None) -> Verification:
    """The photos in a folder, verified, with what lies beside them among what is left out."""
    layout = read_layout(root)
    verification = verified(root, layout.candidates, cache_dir=cache_dir, progress=progress)
    left_out = sorted((*verification.left_out, *layout.left_out), key=lambda entry: entry.path)
    return replace(verification, left_out=tuple(left_out))


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
        return _verified(root, cache_dir=cache_dir, progress=progress)

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
        digests = {path: sha256_of(root / path) for path, _, _ in read_layout(root).candidates}
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
