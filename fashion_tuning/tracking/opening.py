"""Opening a tracking store: what MLflow would try for minutes, or make where nobody wants it, is found out before."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import sqlalchemy
from mlflow.entities import Experiment
from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.tracking import MlflowClient
from sqlalchemy.pool import NullPool

from fashion_tuning.errors import FashionTuningError, StoreError
from fashion_tuning.tracking.database import make_database, require_file, sqlite_file, sqlite_folder
from fashion_tuning.tracking.failures import FAILURES, explained

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SHARED = "mlflow server --backend-store-uri DATABASE --artifacts-destination s3://BUCKET, then name http://HOST:5000"


def connect(uri: str, *, make: bool) -> MlflowClient:
    """A client of a store that has answered once.

    Args:
      make: Make a local database where there is none.

    Raises:
      FashionTuningError: It can't be opened, and waiting won't help.
    """
    try:
        if sqlite_folder(uri):
            require_file(sqlite_file(uri))
            if make:
                make_database(sqlite_file(uri))
        if is_database(uri):
            _require_database(uri)
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
        return client
    except (*FAILURES, FashionTuningError):
        raise
    except Exception as error:  # drivers and plug-ins have ways of their own to say that they can't
        raise explained(error, uri=uri) from error


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
            raise _unshared(uri, "its artifacts would lie in mlruns/ of this machine alone")
        return
    place = urlsplit(experiment.artifact_location)
    if place.scheme == "mlflow-artifacts" and is_database(uri):
        raise _unshared(uri, f"the artifacts of {experiment.name!r} are an MLflow server's, which only it can reach")
    if place.scheme in ("", "file"):
        # MLflow's own choice where nobody has named a place: the mlruns/ of whoever made the experiment.
        is_default = unquote(place.path).rstrip("/").endswith(f"/mlruns/{experiment.experiment_id}")
        if is_default and (is_database(uri) or urlsplit(uri).hostname not in _LOOPBACK):
            raise _unshared(uri, f"the artifacts of {experiment.name!r} lie in {place.path}, on one machine alone")


def _unshared(uri: str, received: str) -> StoreError:
    return StoreError(
        f"the tracking store {uri}: {received}",
        expected="a place for artifacts that every machine reaches",
        action=f"{_SHARED}; or make the experiment first: mlflow experiments create -n NAME -l s3://BUCKET/PATH",
    )


def _require_database(uri: str) -> None:
    """Asks a database for MLflow's tables once; MLflow itself asks ten times, and makes them where they are missing.

    Raises:
      StoreError: It holds none of them, and is not a local one.
    """
    if uri.startswith("sqlite:") and not sqlite_folder(uri):
        raise StoreError(f"the tracking store {uri} is no file", action="name one: --tracking-uri sqlite:///PATH")
    engine = sqlalchemy.create_engine(uri, poolclass=NullPool)
    with engine.connect() as connection:
        if sqlalchemy.inspect(connection).has_table("experiments") or sqlite_folder(uri):
            return
    raise _unshared(uri, "it is a database without MLflow's tables, and its artifacts would lie here alone")
