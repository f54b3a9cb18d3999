"""The first exchange with a store: what MLflow would try for minutes, or make by itself, is found out before."""

from __future__ import annotations

import sqlalchemy
from mlflow.tracking import MlflowClient
from sqlalchemy.pool import NullPool

from fashion_tuning.errors import FashionTuningError, StoreError
from fashion_tuning.tracking.database import sqlite_folder
from fashion_tuning.tracking.failures import FAILURES, explained
from fashion_tuning.tracking.sharing import is_database, unshared


def connect(uri: str) -> MlflowClient:
    """A client of a store that has answered once.

    Raises:
      FashionTuningError: It can't be opened, and waiting won't help.
    """
    try:
        if is_database(uri):
            _require_tables(uri)
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
        return client
    except (*FAILURES, FashionTuningError):
        raise
    except Exception as error:  # drivers and plug-ins have ways of their own to say that they can't
        raise explained(error, uri=uri) from error


def _require_tables(uri: str) -> None:
    """Asks a database for MLflow's tables once; MLflow itself asks ten times, and makes them where they are missing.

    Raises:
      StoreError: It has none, and is not a local one.
    """
    if uri.startswith("sqlite:") and not sqlite_folder(uri):
        raise StoreError(f"the tracking store {uri} is no file", action="name one: --tracking-uri sqlite:///PATH")
    engine = sqlalchemy.create_engine(uri, poolclass=NullPool)
    with engine.connect() as connection:
        if sqlalchemy.inspect(connection).has_table("experiments") or sqlite_folder(uri):
            return
    raise unshared(uri, "it is a database without MLflow's tables, and its artifacts would lie here alone")
