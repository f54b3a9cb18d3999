"""Reading the artifacts of a run: each reader names the files that it needs, and those alone are fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from posixpath import dirname
from typing import Final, TypeVar

from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from fashion_tuning.files import SCRATCH, disk_errors, scratch_folder
from fashion_tuning.paths import local_path
from fashion_tuning.tracking.store import Store, worded_artifact_errors

_AT_A_TIME: Final = 8

T = TypeVar("T")


@contextmanager
def artifacts(store: Store, run_id: str, first: str, *others: str) -> Iterator[Path]:
    """A folder in which files of a run have their own paths: the store's where it is local, else copies; read-only.

    A file that the run does not have is not there.

    Raises:
      StoreError: They can't be had.
      DiskError: They can't be copied.
    """
    with _local_or_copied(store, run_id, lambda _: [first, *others]) as folder:
        yield folder


@contextmanager
def artifact_folders(store: Store, run_id: str, first: str, *others: str) -> Iterator[Path]:
    """Like `artifacts`, for all files at or below folders of a run."""

    def files(repository: ArtifactRepository) -> list[str]:
        listings = (repository._iter_artifacts_recursive(path) for path in (first, *others))
        return [info.path for infos in listings for info in infos if not info.is_dir]

    with _local_or_copied(store, run_id, files) as folder:
        yield folder


def list_artifacts(store: Store, run_id: str, folder: str = "") -> dict[str, int | None]:
    """Paths of what stands directly in a folder of a run, with sizes in bytes where the store says them; read-only.

    Raises:
      StoreError: The store can't be read.
    """
    infos = _ask(store, run_id, lambda repository: repository.list_artifacts(folder or None))
    return {info.path: info.file_size for info in infos}


def local_artifacts(store: Store, run_id: str) -> Path | None:
    """The very folder of a run's artifacts, for those who work on it; None where it is not on this machine."""
    return local_path(store.artifact_uri(run_id))


@contextmanager
def _local_or_copied(store: Store, run_id: str, files: Callable[[ArtifactRepository], list[str]]) -> Iterator[Path]:
    if (local := local_artifacts(store, run_id)) is not None:
        yield local
        return

    def copy(repository: ArtifactRepository) -> None:
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            list(pool.map(lambda path: _copy(repository, path, folder), files(repository)))

    with scratch_folder() as folder:
        with disk_errors(folder, instead=SCRATCH):
            _ask(store, run_id, copy)
        yield folder


def _copy(repository: ArtifactRepository, path: str, folder: Path) -> None:
    """Copies a file in one request, where MLflow's own way lists it before; leaves one out that is not there."""
    target = Path(repository._create_download_destination(path, str(folder)))
    try:
        repository._download_file(path, str(target))
    except Exception:
        target.unlink(missing_ok=True)
        # Each store says in its own way that a file is missing, some as if they were in trouble.
        if any(info.path == path for info in repository.list_artifacts(dirname(path) or None)):
            raise


def _ask(store: Store, run_id: str, operation: Callable[[ArtifactRepository], T]) -> T:
    uri = store.artifact_uri(run_id)

    def ask(_: object) -> T:
        with worded_artifact_errors():
            return operation(get_artifact_repository(uri, tracking_uri=store.secret_uri))

    return store.call(ask)
