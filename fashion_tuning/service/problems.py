"""Errors of the API as problem details (RFC 9457): a status, a kind that stands in /docs, and words for this case."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from starlette.responses import JSONResponse

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True)
class Kind:
    """A kind of problem: its HTTP status and what all of its cases have in common."""

    status: int
    title: str


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "malformed": Kind(400, "The request can't be understood"),
        "unauthorized": Kind(401, "A token is needed"),
        "forbidden": Kind(403, "This server does not allow that"),
        "not-found": Kind(404, "There is nothing here"),
        "method": Kind(405, "This address takes another method"),
        "slow-upload": Kind(408, "The upload took too long"),
        "reload-failed": Kind(409, "The new model is not fit; the old one stays"),
        "too-large": Kind(413, "The upload is too large"),
        "too-many-pixels": Kind(413, "The picture has too many pixels"),
        "too-many-files": Kind(413, "Too many files in one request"),
        "unsupported": Kind(415, "The body is of another type than this address takes"),
        "no-picture": Kind(415, "The file is no picture of a kind that is read here"),
        "unreadable": Kind(422, "The picture can't be read"),
        "invalid": Kind(422, "A field has a value that makes no sense"),
        "too-many-requests": Kind(429, "Too many requests from this client"),
        "internal": Kind(500, "The server made a mistake"),
        "busy": Kind(503, "The server has too much to do"),
        "stopping": Kind(503, "The server is about to end"),
        "not-ready": Kind(503, "The model does not answer"),
        "storage": Kind(503, "The feedback can't be stored"),
    }
)


class ProblemError(Exception):
    """A request that is not answered.

    Args:
      kind: One of KINDS.
      detail: What was received, what was expected, what to do: one sentence or two.
      retry_seconds: When to try again; becomes Retry-After.
      members: What else the answer carries (RFC 9457, "extension members").
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        retry_seconds: float | None = None,
        members: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.retry_seconds = retry_seconds
        self.members = members

    @property
    def status(self) -> int:
        return KINDS[self.kind].status

    @property
    def headers(self) -> dict[str, str]:
        """Headers that this answer has beside its type."""
        headers = {}
        if self.retry_seconds is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_seconds)))
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        if self.status == 408:
            headers["connection"] = "close"  # RFC 9110, section 15.5.9: what is still to come is not waited for
        return headers

    def body(self, request_id: str) -> dict[str, Any]:
        """The problem as JSON."""
        return {
            "type": f"/docs#{self.kind}",
            "title": KINDS[self.kind].title,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
            **self.members,
        }


def respond(error: ProblemError, request_id: str) -> JSONResponse:
    """The problem as an answer."""
    return JSONResponse(error.body(request_id), error.status, headers=error.headers, media_type=MEDIA_TYPE)
