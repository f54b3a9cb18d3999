"""The MLflow tracking store: which one, made once, and asked with patience."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from copy import copy
from pathlib import Path
from typing import TypeVar

from mlflow.entities import Experiment, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from fashion_tuning.errors import StoreError, UsageError
from fashion_tuning.fail_points import passed
from fashion_tuning.files import disk_errors
from fashion_tuning.masking import encode_password, leave_password_out, mask_address
from fashion_tuning.paths import expand, file_uri, sqlite_uri
from fashion_tuning.tracking.addresses import refuse_mistaken
from fashion_tuning.tracking.database import ARTIFACTS, DATABASE, ELSEWHERE, sqlite_file
from fashion_tuning.tracking.failures import FAILURES, ArtifactError
from fashion_tuning.tracking.opening import Opening
from fashion_tuning.tracking.patience import Patience
from fashion_tuning.tracking.remedies import deleted_experiment_error
from fashion_tuning.tracking.sharing import require_shared

PATIENCE = 300.0  # seconds

T = TypeVar("T")


class Store:
    """An open tracking store.

    Args:
      uri: Any tracking URI of MLflow's; None means MLFLOW_TRACKING_URI, or else MLflow's own
        default, mlflow.db in the working directory with artifacts in mlruns/ beside it.
      must_exist: Refuse a local database that is not there, for those who only read.
      patience: Seconds to wait for a store that is locked, away or overloaded.
      tell: Given a line when the waiting begins and when it ends.

    A local one belongs to the folder where its database lies, and so do its artifacts.

    Attributes:
      uri: For whoever reads it: a password in it is ***.
      secret_uri: For MLflow alone.

    Raises:
      UsageError: must_exist, and there is none.
      StoreError: The store can't be opened.
      DiskError: A local store can't be written.
    """

    def __init__(
        self,
        uri: str | None = None,
        *,
        must_exist: bool = False,
        patience: float = PATIENCE,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.secret_uri = resolve_uri(uri)
        file = sqlite_file(self.secret_uri)
        self.folder = file.parent if file else None
        self.uri = self.secret_uri if self.folder else mask_address(self.secret_uri)
        self._artifact_uris: dict[str, str] = {}
        self._patience = Patience(self.uri, seconds=patience, tell=tell)
        self._opening = Opening(self.secret_uri, self._patience, must_exist=must_exist, seconds=patience, tell=tell)
        self.client: MlflowClient = self._opening.client
        self._repositories: dict[str, ArtifactRepository] = {}

    @property
    def opened(self) -> str:
        """The URI of what is opened, for MLflow alone: another than the store's where a copy of it is read."""
        return self._opening.uri

    @property
    def mlflow_address(self) -> str:
        """The URI that a command of MLflow's has to be given for this store; "" where it finds the store by itself."""
        return "" if self.secret_uri == resolve_uri(None) else leave_password_out(self.secret_uri) or self.uri

    @property
    def seconds_waited(self) -> float:
        """How long the store has been waited for so far."""
        return self._patience.seconds_waited

    def call(self, operation: Callable[[MlflowClient], T], *, patience: float | None = None) -> T:
        """One exchange with the store, again and again while the store is busy or away.

        What is tried again must be harmless when it is done twice.

        Args:
          patience: Seconds to wait, in place of the store's own.

        Raises:
          StoreError: The store refuses, or was waited for in vain.
          DiskError: The disk below it refuses.
        """
        return self._patience.run(lambda: operation(self.client), seconds=patience)

    def hurry(self) -> None:
        """From now on nothing is waited for: what is left to write has a few seconds in all, then no call works."""
        self._patience.hurry()

    def create_run(
        self,
        experiment_id: str,
        *,
        name: str,
        tags: Mapping[str, str],
        start_time: int | None = None,
        guard: Callable[[MlflowClient], None] = lambda _: None,
    ) -> str:
        """Makes a run, once even where the answer of the first try is lost; its id.

        Args:
          start_time: Milliseconds since 1970; now by default.
          guard: Called before each try; what it raises is passed on, and no run is made.
        """
        started = int(time.time() * 1000) if start_time is None else start_time
        tries = 0

        def operation(client: MlflowClient) -> str:
            nonlocal tries
            tries += 1
            guard(client)
            if tries > 1:
                query = f"attributes.start_time = {started} and attributes.run_name = '{name}'"
                for run in client.search_runs([experiment_id], query):
                    if all(run.data.tags.get(key) == value for key, value in tags.items()):
                        return run.info.run_id
            return client.create_run(experiment_id, start_time=started, tags=dict(tags), run_name=name).info.run_id

        return self.call(operation)

    def upload(self, run_id: str, path: Path, folder: str = "") -> None:
        """Stores a file as an artifact `folder`/<its name> of a run.

        Raises:
          DiskError: A local artifact folder can't be written.
        """
        self._change_artifacts(run_id, path, lambda artifacts: artifacts.log_artifact(str(path), folder or None))

    def remove(self, run_id: str, path: str) -> None:
        """Removes an artifact of a run, or a folder of them, if it is there; raises as `upload` does."""

        def delete(artifacts: ArtifactRepository) -> None:
            with suppress(FileNotFoundError):
                artifacts.delete_artifacts(path)

        self._change_artifacts(run_id, Path(path), delete)

    def _change_artifacts(self, run_id: str, path: Path, change: Callable[[ArtifactRepository], None]) -> None:
        uri = self.artifact_uri(run_id)

        def operation(_: MlflowClient) -> None:
            with nullcontext() if self.folder else worded_artifact_errors():
                # MLflow's client keeps by run where artifacts lie, for all stores of a process, and copies share runs.
                if run_id not in self._repositories:
                    self._repositories[run_id] = get_artifact_repository(uri, tracking_uri=self.secret_uri)
                change(self._repositories[run_id])

        with disk_errors(path, instead=ELSEWHERE):
            self.call(operation)

    def artifact_uri(self, run_id: str) -> str:
        """Where a run's artifacts lie, which stays as it is; read-only.

        Raises:
          StoreError: The run is gone, or the store can't be read.
        """
        if run_id not in self._artifact_uris:
            run = self.get_run(run_id)
            if run is None:
                raise StoreError(
                    f"the run {run_id} is not in {self.uri} any more, and its artifacts went with it",
                    action="name another study or model: what was deleted in MLflow's UI, mlflow gc removes for good",
                )
            self._artifact_uris[run_id] = run.info.artifact_uri
        return self._artifact_uris[run_id]

    def get_run(self, run_id: str) -> Run | None:
        """The run of that id, None where there is none; read-only.

        Raises:
          StoreError: The store can't be read.
        """

        def operation(client: MlflowClient) -> Run | None:
            try:
                return client.get_run(run_id)
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise

        return self.call(operation)

    def beside(self) -> Store:
        """This store for another thread: where it is a server, neither waits for the other's exchanges."""
        if self.folder is not None:
            return self  # SQLite has one writer
        other = copy(self)
        other._patience = self._patience.beside()
        return other

    def search(self, experiment_ids: list[str], query: str, *, view_type: int = ViewType.ACTIVE_ONLY) -> list[Run]:
        """All runs of some experiments that a query finds, by default those that nobody has deleted; read-only."""
        runs: list[Run] = []
        token: str | None = None
        while True:
            page = self.call(
                lambda client, token=token: client.search_runs(  # type: ignore[misc]
                    experiment_ids, query, view_type, max_results=1000, page_token=token
                )
            )
            runs.extend(page)
            token = page.token
            if not token:
                self._artifact_uris.update((run.info.run_id, run.info.artifact_uri) for run in runs)
                return runs

    def experiment_id(self, name: str) -> str | None:
        """Id of the experiment of that name, None where there is none; read-only."""
        experiment = self.call(lambda client: client.get_experiment_by_name(name))
        return experiment.experiment_id if experiment else None

    def make_experiment(self, name: str, *, description: str) -> str:
        """Id of the experiment of that name, made if needed.

        Raises:
          StoreError: The store refuses, the experiment was deleted in the UI, or its artifacts lie on one machine.
        """

        def operation(client: MlflowClient) -> Experiment:
            experiment = client.get_experiment_by_name(name)
            require_shared(self.uri, experiment)
            if experiment is not None:
                return experiment
            location = file_uri(self.folder / ARTIFACTS / name) if self.folder else None
            tags = {"mlflow.note.content": description} if description else {}
            try:
                made = client.create_experiment(name, location, tags)
                passed("experiment")
                return client.get_experiment(made)
            except MlflowException:
                experiment = client.get_experiment_by_name(name)  # another process made it in between
                if experiment is None:
                    raise
                return experiment

        experiment = self.call(operation)
        require_shared(self.uri, experiment)
        if experiment.lifecycle_stage != "active":
            raise deleted_experiment_error(name, experiment.experiment_id, address=self.mlflow_address)
        return experiment.experiment_id

    def experiment_names(self) -> list[str]:
        """Names of all active experiments; read-only."""
        found = self.call(lambda client: list(client.search_experiments(view_type=ViewType.ACTIVE_ONLY)))
        return [experiment.name for experiment in found]


@contextmanager
def worded_artifact_errors() -> Iterator[None]:
    """S3, Azure and the others each have exceptions of their own; a local disk's stay as they are."""
    try:
        yield
    except (*FAILURES, OSError):
        raise
    except Exception as error:
        raise ArtifactError(f"{type(error).__name__}: {error}") from error


def resolve_uri(uri: str | None) -> str:
    """The tracking URI that is meant, absolute: a relative one would depend on who reads it when."""
    uri = encode_password(uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{DATABASE}")
    if file := sqlite_file(uri):
        if "?" in uri:
            raise UsageError(
                f"tracking URI {uri!r} has options",
                expected="the path of a database alone",
                action="write a question mark in a name as %3F, and a percent sign as %25",
            )
        return sqlite_uri(expand(file).resolve())  # one file, one name: locks are named by it
    refuse_mistaken(uri)
    return uri
