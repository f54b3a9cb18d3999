"""Gets the photos: GitHub's archive of one commit, every file checked against the manifest shipped here."""

import hashlib
import logging
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Final

import pooch
import requests
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from fashion_tuning.data.manifest import Manifest
from fashion_tuning.errors import DataError, DiskError, PhotosUnreachableError
from fashion_tuning.locks import locked

NAME: Final = "clothing-dataset-small"
COMMIT: Final = "11961516512414bf9f6c150a832cfd21b54a6b54"
ARCHIVE_URL: Final = f"https://github.com/alexeygrigorev/{NAME}/archive/{COMMIT}.zip"
# Far above any photo of the set: a member that claims more is not unpacked.
MAX_FILE_BYTES: Final = 50_000_000
NUM_NAMED: Final = 5


def shipped_manifest() -> Manifest:
    """The manifest of clothing-dataset-small at COMMIT, as it comes with this package."""
    text = resources.files("fashion_tuning.data").joinpath("clothing_dataset_small.csv").read_text(encoding="utf-8")
    return Manifest.from_csv(text)


def download_photos(
    target: Path,
    *,
    url: str = ARCHIVE_URL,
    manifest: Manifest | None = None,
    timeout: float = 10.0,
    progress: bool = False,
) -> None:
    """Downloads an archive and puts the manifest's photos at target, all of them or nothing.

    Where target exists already nothing happens, and nothing has to be writable. Two processes may call
    this at once: the second waits. Needs about twice the archive's size beside target while it works.

    Args:
      manifest: What must be in the archive, below its one top folder; the shipped one by default.
      timeout: Seconds to connect; three times as long without a byte ends the download too.
      progress: Shows a bar on the terminal.

    Raises:
      PhotosUnreachableError: no connection, an HTTP error, or an answer that is no archive.
      DataError: a photo is missing in the archive or differs from the manifest.
      DiskError: the folder can't be written.
    """
    if target.exists():
        return
    wanted = shipped_manifest() if manifest is None else manifest
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.parent / f".{target.name}.lock"):
            if target.exists():
                return
            for remains in target.parent.glob(f".{target.name}.part-*"):
                shutil.rmtree(remains, ignore_errors=True)  # of a process that was killed: the lock is ours
            with tempfile.TemporaryDirectory(prefix=f".{target.name}.part-", dir=target.parent) as folder:
                archive = _fetch(url, Path(folder), timeout=timeout, progress=progress)
                photos = Path(folder) / "photos"
                _unpack(archive, photos, wanted, url=url)
                photos.replace(target)
    except OSError as error:
        raise DiskError(
            f"can't write the photos to {target}: {error.strerror or error}",
            action="free space there, or name another folder with FASHION_TUNING_CACHE",
        ) from error


def _fetch(url: str, folder: Path, *, timeout: float, progress: bool) -> Path:
    pooch.get_logger().setLevel(logging.WARNING)  # pooch reports each file's hash and how to use it
    try:
        with _progress_bar(progress) as bar:
            downloader = pooch.HTTPDownloader(
                progressbar=bar, chunk_size=_Bar.CHUNK_SIZE, timeout=(timeout, 3 * timeout)
            )
            # No known_hash: GitHub doesn't promise that an archive's bytes stay. Its files are checked instead.
            name = pooch.retrieve(url, known_hash=None, fname="archive.zip", path=folder, downloader=downloader)
    except requests.RequestException as error:
        if error.response is not None:
            error.response.close()  # pooch leaves a refused answer's connection open
        raise PhotosUnreachableError(
            f"can't get the photos from {url}: {_short(error)}",
            action="check the connection, or name a folder of photos with --data or FASHION_TUNING_DATA",
        ) from error
    return Path(name)


def _unpack(archive: Path, folder: Path, manifest: Manifest, *, url: str) -> None:
    """Writes the manifest's photos below folder; member names only choose what is read, never where it goes."""
    problems = []
    try:
        with zipfile.ZipFile(archive) as content:
            members = {info.filename.partition("/")[2]: info for info in content.infolist()}
            for photo in manifest.photos:
                data = _member_bytes(content, members.get(photo.path))
                if data is None:
                    problems.append(f"{photo.path} is missing or broken")
                elif hashlib.sha256(data).hexdigest() != photo.sha256:
                    problems.append(f"{photo.path} differs")
                else:
                    path = folder / photo.path
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
    except zipfile.BadZipFile as error:
        raise PhotosUnreachableError(
            f"{url} answered with something that is no zip archive: {error}",
            action="check the connection, or name a folder of photos with --data or FASHION_TUNING_DATA",
        ) from error
    if problems:
        raise DataError(
            f"{len(problems)} of {len(manifest.photos)} photos from {url} are not the expected ones: "
            + "; ".join(problems[:NUM_NAMED]),
            expected="every photo of the manifest with its sha256",
            action="try again, or name a folder of photos with --data or FASHION_TUNING_DATA",
        )


def _member_bytes(content: zipfile.ZipFile, info: zipfile.ZipInfo | None) -> bytes | None:
    if info is None or info.file_size > MAX_FILE_BYTES:
        return None
    try:
        return content.read(info)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError):  # RuntimeError: encrypted
        return None


def _short(error: Exception) -> str:
    """The innermost cause, without the connection's repr: requests wraps it in several layers."""
    cause: BaseException = error
    while cause.args and isinstance(cause.args[0], BaseException):
        cause = cause.args[0]
    cause = getattr(cause, "reason", None) or cause
    return re.sub(r"^\w+\(.*?\): ", "", str(cause))


class _Bar:
    """Rich's progress in the shape that pooch calls: total, update, reset, close."""

    CHUNK_SIZE: Final = 1 << 16

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("photos", total=None)
        self.total = 0  # bytes, set by pooch; 0 where the server doesn't say

    def update(self, num_bytes: int) -> None:
        self._progress.update(self._task, advance=num_bytes, total=self.total or None)

    def reset(self) -> None:
        """Pooch starts the count anew to fill the bar at the end; without a total there is nothing to fill."""
        if self.total:
            self._progress.update(self._task, completed=0)

    def close(self) -> None:
        self._progress.refresh()


@contextmanager
def _progress_bar(shown: bool) -> Iterator[_Bar | bool]:
    if not shown:
        yield False
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, transient=True) as progress:
        yield _Bar(progress)
