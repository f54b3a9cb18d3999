"""Tracking URIs that mean no store that can be used: what was typed, and what was probably meant."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from fashion_tuning.errors import StoreError

_EXPECTED: Final = "a database or a server: MLflow keeps no new runs in folders"
_ACTION: Final = "leave it out for mlflow.db here, or give sqlite:///PATH or http://HOST:PORT"
_DATABRICKS: Final = ("databricks", "databricks-uc", "uc")
_PLACES: Final = ("s3", "gs", "wasb", "wasbs", "abfs", "abfss", "dbfs", "hdfs", "viewfs", "ftp", "sftp",
                  "mlflow-artifacts", "runs", "models")  # fmt: skip
_HOST_AND_PORT: Final = re.compile(r"(?:[^/@]+@)?(?:[\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}(?:/.*)?")


def refuse_mistaken(uri: str) -> None:
    """Makes sure that a tracking URI is one of a database or of a server, or of a kind that only a plugin knows.

    Raises:
      StoreError: It is none; what was probably meant is named.
    """
    scheme, _, rest = uri.partition(":")
    scheme = scheme.lower()
    if scheme in _DATABRICKS:
        raise StoreError(
            f"tracking URI {_shown(uri)} is a Databricks workspace",
            expected="a database or an MLflow server: there, experiments are named by paths, and here by their cards",
            action=_ACTION,
        )
    if scheme in _PLACES and rest:
        raise StoreError(
            f"tracking URI {_shown(uri)} is a place for artifacts",
            expected="a database or a server, which knows where artifacts go: mlflow server --artifacts-destination",
            action=_ACTION,
        )
    if meant := _meant(uri, scheme, rest):
        lacks = "is not one that MLflow knows" if scheme in ("http", "https", "sqlite", "postgres") else "has no scheme"
        raise StoreError(f"tracking URI {_shown(uri)} {lacks}", action=f"did you mean {_shown(meant)[1:-1]}?")
    if "://" not in uri or scheme == "file":
        raise StoreError(f"tracking URI {_shown(uri)} is a folder", expected=_EXPECTED, action=_ACTION)
    if scheme in ("http", "https") and not urlsplit(uri).netloc:
        raise StoreError(f"tracking URI {_shown(uri)} names no host", expected=f"{scheme}://HOST:PORT", action=_ACTION)


def _meant(uri: str, scheme: str, rest: str) -> str:
    """The URI that was probably meant; "" where there is no telling."""
    if scheme in ("http", "https") and not rest.startswith("//"):
        return f"{scheme}://{rest.lstrip('/') or 'HOST:PORT'}"
    if scheme == "sqlite" and not rest.startswith("///"):
        path = rest.lstrip("/") or "PATH"
        return f"sqlite:////{path}" if rest.startswith("/") and not rest.startswith("//") else f"sqlite:///{path}"
    if scheme == "postgres":
        return f"postgresql:{rest}"
    if "://" in uri:
        return ""
    if _HOST_AND_PORT.fullmatch(uri):
        return f"http://{uri}"
    return f"sqlite:///{uri}" if uri.endswith((".db", ".sqlite", ".sqlite3")) else ""


def _shown(uri: str) -> str:
    """Without a password, which may be there in any of them."""
    return repr(re.sub(r"^((?:[\w+.-]+:/+)?[^/@:]*):.*@", r"\1:***@", uri))
