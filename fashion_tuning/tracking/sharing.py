"""Where runs are every machine's, their artifacts must be so too."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from mlflow.entities import Experiment
from mlflow.store.db.db_types import DATABASE_ENGINES

from fashion_tuning.errors import StoreError
from fashion_tuning.tracking.database import sqlite_folder

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_database(uri: str) -> bool:
    """Whether MLflow would open the database behind a URI by itself, with no server between."""
    return urlsplit(uri).scheme.partition("+")[0] in DATABASE_ENGINES


def require_shared(uri: str, experiment: Experiment | None) -> None:
    """Sees that an experiment's artifacts don't lie on one machine while its runs are every machine's.

    Args:
      uri: The store's.
      experiment: None for one that is still to be made.

    Raises:
      StoreError: They do, or would.
    """
    if sqlite_folder(uri):
        return  # the store is as local as they are
    if experiment is None:
        if is_database(uri):
            raise unshared(uri, "its artifacts would lie in mlruns/ of this machine alone")
        return
    location = urlsplit(experiment.artifact_location)
    if location.scheme == "mlflow-artifacts" and is_database(uri):
        raise unshared(uri, f"the artifacts of {experiment.name!r} are an MLflow server's, which only it can reach")
    if location.scheme in ("", "file"):
        # MLflow's own choice where nobody has named a place: the mlruns/ of whoever made the experiment.
        is_default = f"/{unquote(location.path)}".rstrip("/").endswith(f"/mlruns/{experiment.experiment_id}")
        if is_default and (is_database(uri) or urlsplit(uri).hostname not in _LOOPBACK):
            raise unshared(uri, f"the artifacts of {experiment.name!r} lie in {location.path}, on one machine alone")


def unshared(uri: str, received: str) -> StoreError:
    """The error that says how a store gets a place for artifacts."""
    return StoreError(
        f"the tracking store {uri}: {received}",
        expected="a place for artifacts that every machine reaches",
        action="start mlflow server --backend-store-uri DATABASE --artifacts-destination s3://BUCKET, and give its "
        "http://HOST:5000; or make the experiment first: mlflow experiments create -n NAME -l s3://BUCKET/FOLDER",
    )
