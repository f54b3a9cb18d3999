"""What a tracking store can fail with: what passes by waiting, and how the rest is worded."""

import math
import re
import socket
from collections.abc import Iterator, Mapping
from ssl import SSLCertVerificationError
from typing import Final

from alembic.util import CommandError
from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from fashion_tuning.errors import DiskError, FashionTuningError, StoreError

# https://sqlite.org/rescode.html; the extended codes begin with these.
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_DISK = ("SQLITE_FULL", "SQLITE_IOERR")
# What PostgreSQL, MySQL and SQL Server say to somebody whom they will never let in. Of a connection that was not made
# their drivers know no code, only these words; in another language they are waited for like an outage.
_SHUT_OUT: Final = re.compile(
    r"authentication failed|no password supplied|(database|role|user|schema) \S+ does not exist|not permitted to log in"
    r"|permission denied for|no pg_hba\.conf entry|SSL was required|SSL off|Access denied for|Unknown database"
    r"|Login failed for|Cannot open database",
    re.IGNORECASE,
)
_NO_HOST: Final = re.compile(
    r"Name or service not known|nodename nor servname|No address associated|getaddrinfo failed"
)
# What MLflow's client says of an answer that is no MLflow server's, but another page or the way to one.
_NO_SERVER: Final = re.compile(r"response body was not in a valid JSON format|failed with error code 3\d\d")
# Of the modules that SQLAlchemy and MLflow load for a URI: what brings them, where that has another name.
_PACKAGES: Final = {
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "botocore": "boto3",
    "azure": "azure-storage-blob azure-identity",
    "google": "google-cloud-storage",
}


class ArtifactError(Exception):
    """An artifact store other than a local folder refused; each kind has exceptions of its own."""


FAILURES = (MlflowException, SQLAlchemyError, RequestException, CommandError, ArtifactError, ImportError)


def passes(error: BaseException, *, answered: bool = True) -> bool:
    """Whether waiting may help: a locked database, a server that is away, busy or restarting.

    Args:
      answered: The store has answered before; a host that nobody knew from the start is rather a mistake, and so
        is another server in its place, while later on both come from a network that is away.
    """
    causes = list(_causes(error))
    if any(_lasts(cause) for cause in causes):
        return False
    if not answered and (_is_unknown_host(causes) or any(map(_is_no_server, causes))):
        return False
    for cause in causes:
        if isinstance(cause, OperationalError | InterfaceError):
            name = _sqlite_name(cause)
            return name.startswith(_BUSY) if name else True
        if (status := _status(cause)) is not None:
            return _is_passing(status)
        if isinstance(cause, RequestException):
            return not isinstance(cause, ValueError)  # a URL that is none
    return isinstance(error, ArtifactError)


def explained(error: BaseException, *, uri: str, waited: float = 0.0) -> FashionTuningError:
    """The error for a person; `waited` is how long the store was waited for, in seconds."""
    causes = list(_causes(error))
    if any(_sqlite_name(cause).startswith(_DISK) for cause in causes):
        return DiskError(
            f"the tracking store {uri} can't be written: {_reason(error)}",
            expected="a writable disk with free space",
            action="free some space; then type the same command again, nothing recorded is lost",
        )
    after = f" after {math.floor(waited)} s of waiting" if waited >= 1 else ""
    reason, remedy = _reason(error), "check the store or MLFLOW_TRACKING_URI"
    status = next((code for cause in causes if (code := _status(cause)) is not None), None)
    if (missing := next((cause for cause in causes if isinstance(cause, ImportError)), None)) is not None:
        module = (missing.name or "").partition(".")[0]
        reason, remedy = str(missing), f"pip install '{_PACKAGES.get(module, module or 'what it names')}'"
    elif any(isinstance(cause, DBAPIError) and _is_shut_out(cause) for cause in causes):
        remedy = "check user, password and database in the tracking URI, and what that user may do"
    elif isinstance(error, ArtifactError) and (status in (401, 403) or any(map(_is_shut_out, causes))):
        remedy = "set what the artifacts' store asks for, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    elif status in (401, 403):
        remedy = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to a user who may do this"
    elif status == 404 or any(map(_is_no_server, causes)):
        remedy = "check the address: an MLflow server, and the bucket of its artifacts, must be there"
    elif _is_unknown_host(causes):
        reason, remedy = "no host of that name is known", "check the tracking URI's host, the network, and any proxy"
    return StoreError(
        f"the tracking store {uri} does not work{after}: {reason}",
        action=f"{remedy}; then type the same command again, nothing recorded is lost",
    )


def _reason(error: BaseException) -> str:
    """The first line of what the database itself said, or else of the error."""
    said = next((str(one.orig) for one in _causes(error) if isinstance(one, DBAPIError) and one.orig), str(error))
    if isinstance(error, ArtifactError):  # around it stand names of files here
        said = next((str(cause) for cause in _causes(error) if _status(cause) is not None), said)
    return (said.strip() or type(error).__name__).splitlines()[0][:300]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _lasts(error: BaseException) -> bool:
    """Whether it is as it is until a person changes something."""
    if type(error) is OSError and error.errno is None:  # requests', of a file of certificates that is not there
        return True
    return isinstance(error, ImportError | SSLCertVerificationError) or _is_shut_out(error)


def _is_shut_out(error: BaseException) -> bool:
    """Whether a database said so, or the library of an artifact store has nobody to log in as."""
    if isinstance(error, DBAPIError):
        return not _sqlite_name(error) and _SHUT_OUT.search(str(error.orig)) is not None
    return "Credentials" in type(error).__name__  # botocore's and Google's


def _is_unknown_host(causes: list[BaseException]) -> bool:
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return cause.errno != socket.EAI_AGAIN
        if isinstance(cause, DBAPIError) and _NO_HOST.search(str(cause.orig)):
            return True
    return False


def _is_no_server(error: BaseException) -> bool:
    return isinstance(error, MlflowException) and _NO_SERVER.search(str(error)) is not None


def _sqlite_name(error: BaseException) -> str:
    """Such as SQLITE_BUSY_SNAPSHOT; "" for errors of anything else."""
    return str(getattr(error.orig, "sqlite_errorname", "")) if isinstance(error, DBAPIError) else ""


def _status(error: BaseException) -> int | None:
    """The HTTP status that a server or an artifact store answered with, None where it is no such answer."""
    if isinstance(error, MlflowException):
        # MLflow gives a status to errors of its own making too; only a server's is news of a server.
        return error.get_http_status_code() if _is_of_a_server(error) else None
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):  # botocore's
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    # requests', Azure's and Google's
    for status in (getattr(response, "status_code", None), getattr(error, "status_code", None), _code(error)):
        if isinstance(status, int):
            return status
    return None


def _code(error: BaseException) -> object:
    return getattr(error, "code", None) if type(error).__module__.startswith("google.") else None


def _is_of_a_server(error: MlflowException) -> bool:
    return hasattr(error, "json") or str(error).startswith("API request to")


def _is_passing(status: int) -> bool:
    return status in (408, 429) or status >= 500
