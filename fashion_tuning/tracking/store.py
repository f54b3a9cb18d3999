"""The MLflow tracking store: which one, made once, and how its failures reach a person."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Before mlflow is imported: it reads this once.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from alembic.util import CommandError
from filelock import FileLock
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from fashion_tuning.errors import StoreError, UsageError
from fashion_tuning.files import disk_errors

# Its news of tables made and monitors started would stand between a study's own lines.
logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)

DATABASE = "mlflow.db"
ARTIFACTS = "mlruns"


class Store:
    """An open tracking store.

    Args:
      uri: Any tracking URI of MLflow's; None means MLFLOW_TRACKING_URI, or else MLflow's own
        default, mlflow.db in the working directory with artifacts in mlruns/ beside it.
      must_exist: Refuse a local database that is not there, for those who only read.

    A local database is made here, under a file lock: MLflow's own creation fails where two
    processes start at once.

    Raises:
      UsageError: must_exist, and there is none.
      StoreError: The store can't be opened.
      DiskError: A local store can't be written.
    """

    def __init__(self, uri: str | None = None, *, must_exist: bool = False) -> None:
        self.uri = resolve_uri(uri)
        self.folder = _sqlite_folder(self.uri)
        if must_exist and self.folder and not _sqlite_file(self.uri).exists():
            raise UsageError(
                f"no tracking store {self.uri}",
                expected="a store with a study",
                action="fashion-tuning tune experiments/xception_150.toml makes one; or go where it was run",
            )
        with store_errors(self.uri):
            if self.folder:
                with disk_errors(self.folder):
                    self.folder.mkdir(parents=True, exist_ok=True)
                    with FileLock(self.folder / f".{DATABASE}.lock"):
                        self.client = self._connect()
            else:
                self.client = self._connect()

    def _connect(self) -> MlflowClient:
        client = MlflowClient(self.uri)
        client.search_experiments(max_results=1)
        return client

    def experiment_id(self, name: str) -> str | None:
        """Id of the experiment of that name, None where there is none; read-only."""
        with store_errors(self.uri):
            experiment = self.client.get_experiment_by_name(name)
        return experiment.experiment_id if experiment else None

    def make_experiment(self, name: str, *, description: str) -> str:
        """Id of the experiment of that name, made if needed.

        Raises:
          StoreError: The store refuses, or the experiment was deleted in the UI.
        """
        with store_errors(self.uri):
            experiment = self.client.get_experiment_by_name(name)
            if experiment is None:
                location = (self.folder / ARTIFACTS / name).as_uri() if self.folder else None
                tags = {"mlflow.note.content": description} if description else {}
                try:
                    return self.client.create_experiment(name, artifact_location=location, tags=tags)
                except MlflowException:
                    # Another process made it in between.
                    experiment = self.client.get_experiment_by_name(name)
                    if experiment is None:
                        raise
        if experiment.lifecycle_stage != "active":
            raise StoreError(
                f"the MLflow experiment {name!r} was deleted",
                action=f"mlflow experiments restore --experiment-id {experiment.experiment_id}",
            )
        return experiment.experiment_id

    def experiment_names(self) -> list[str]:
        """Names of all active experiments; read-only."""
        with store_errors(self.uri):
            return [experiment.name for experiment in self.client.search_experiments(view_type=ViewType.ACTIVE_ONLY)]


def resolve_uri(uri: str | None) -> str:
    """The tracking URI that is meant, absolute: a relative one would depend on who reads it when."""
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{DATABASE}"
    if uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
        return f"sqlite:///{Path(uri.removeprefix('sqlite:///')).absolute()}"
    if "://" not in uri or urlsplit(uri).scheme == "file":
        raise StoreError(
            f"tracking URI {uri!r} is a folder",
            expected="a database or a server: MLflow keeps no new runs in folders",
            action="leave it out for mlflow.db here, or give sqlite:///PATH or http://HOST:PORT",
        )
    return uri


@contextmanager
def store_errors(uri: str) -> Iterator[None]:
    """Turns the many ways a store can fail into one StoreError.

    Raises:
      StoreError: With the store's own words.
    """
    try:
        # MLflow's own deprecations are no news to the person at the terminal.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (MlflowException, SQLAlchemyError, RequestException, CommandError) as error:
        raise StoreError(
            f"the tracking store {uri} does not work: {str(error).strip().splitlines()[0][:300]}",
            action="check the store or MLFLOW_TRACKING_URI; then type the same command again, nothing recorded is lost",
        ) from error


def _sqlite_folder(uri: str) -> Path | None:
    return _sqlite_file(uri).parent if uri.startswith("sqlite:///") else None


def _sqlite_file(uri: str) -> Path:
    return Path(unquote(uri.removeprefix("sqlite:///")))
