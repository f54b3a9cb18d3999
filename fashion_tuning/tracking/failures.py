"""What a tracking store can fail with: what passes by waiting, and how the rest is worded."""

import math
from collections.abc import Iterator

from alembic.util import CommandError
from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from fashion_tuning.errors import DiskError, FashionTuningError, StoreError

# https://sqlite.org/rescode.html; the extended codes begin with these.
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_DISK = ("SQLITE_FULL", "SQLITE_IOERR")


class ArtifactError(Exception):
    """An artifact store other than a local folder refused; each kind has exceptions of its own."""


FAILURES = (MlflowException, SQLAlchemyError, RequestException, CommandError, ArtifactError)


def passes(error: BaseException) -> bool:
    """Whether waiting may help: a locked database, a server that is away, busy or restarting."""
    for cause in _causes(error):
        if isinstance(cause, OperationalError | InterfaceError):
            name = _sqlite_name(cause)
            return name.startswith(_BUSY) if name else True
        if isinstance(cause, ArtifactError):
            return True
        if isinstance(cause, RequestException) and not isinstance(cause, ValueError):  # a URL that is none
            return cause.response is None or _is_passing(cause.response.status_code)
        # MLflow gives a status to errors of its own making too; only a server's is news of a server.
        if isinstance(cause, MlflowException) and _is_of_a_server(cause):
            return _is_passing(cause.get_http_status_code())
    return False


def explained(error: BaseException, *, uri: str, waited: float = 0.0) -> FashionTuningError:
    """The error for a person; `waited` is how long the store was waited for, in seconds."""
    reason = _reason(error)
    if any(_sqlite_name(cause).startswith(_DISK) for cause in _causes(error)):
        return DiskError(
            f"the tracking store {uri} can't be written: {reason}",
            expected="a writable disk with free space",
            action="free some space; then type the same command again, nothing recorded is lost",
        )
    after = f" after {math.floor(waited)} s of waiting" if waited >= 1 else ""
    return StoreError(
        f"the tracking store {uri} does not work{after}: {reason}",
        action="check the store or MLFLOW_TRACKING_URI; then type the same command again, nothing recorded is lost",
    )


def _reason(error: BaseException) -> str:
    """The first line of what the database itself said, or else of the error."""
    said = next((str(one.orig) for one in _causes(error) if isinstance(one, DBAPIError) and one.orig), str(error))
    return (said.strip() or type(error).__name__).splitlines()[0][:300]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _sqlite_name(error: BaseException) -> str:
    """Such as SQLITE_BUSY_SNAPSHOT; "" for errors of anything else."""
    return str(getattr(error.orig, "sqlite_errorname", "")) if isinstance(error, DBAPIError) else ""


def _is_of_a_server(error: MlflowException) -> bool:
    return hasattr(error, "json") or str(error).startswith("API request to")


def _is_passing(status: int) -> bool:
    return status in (408, 429) or status >= 500
