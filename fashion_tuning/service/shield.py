"""Around all routes: request ids, headers for browsers, token, rate, words for what goes wrong, figures."""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fashion_tuning.service.limits import Limits, Rates
from fashion_tuning.service.metrics import Metrics
from fashion_tuning.service.problems import ProblemError, respond

OPEN = frozenset({"/", "/docs", "/openapi.json", "/healthz", "/readyz"})  # what needs no token
PATHS = OPEN | {"/metrics", "/v1/predict", "/v1/categories", "/v1/feedback", "/v1/reload"}
SECONDS_TO_DRAIN = 5.0

HEADERS: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(self), geolocation=(), microphone=()",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",  # pages have one of their own
    "cache-control": "no-store",
}

_logger = logging.getLogger(__name__)


@dataclass
class _Exchange:
    """One request and what has become of it so far."""

    scope: Scope
    receive: Receive
    send: Send
    path: str
    id: str
    status: int = 0
    reading: bool = False
    read: bool = False
    done: bool = False
    headers: Headers = field(init=False)

    def __post_init__(self) -> None:
        self.headers = Headers(scope=self.scope)

    async def receiving(self) -> Message:
        self.reading = True
        message = await self.receive()
        self.read = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    async def sending(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.id
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        elif not message.get("more_body", False) and self._owes_body:
            # Whoever still sends sees the answer only if what is sent is taken from the line first.
            await self.send({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body", "body": b""}
        await self.send(message)
        self.done = message["type"] == "http.response.body" and not message.get("more_body", False)

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(SECONDS_TO_DRAIN):
                while not self.read:
                    await self.receiving()
        except TimeoutError:
            return

    @property
    def _owes_body(self) -> bool:
        """Whether the client sends, or is about to send, what nobody has read."""
        if self.read or ("100-continue" in self.headers.get("expect", "").lower() and not self.reading):
            return False
        return "transfer-encoding" in self.headers or self.headers.get("content-length", "0") != "0"


class Shield:
    """What every request meets before and after the routes.

    Args:
      token: What `Authorization: Bearer` has to carry for all but OPEN; None: nothing.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, metrics: Metrics, token: str | None) -> None:
        self._app = app
        self._metrics = metrics
        self._token = token
        self._rates = Rates(limits.requests_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        path = scope["path"] if scope["path"] in PATHS else "other"
        exchange = _Exchange(scope, receive, send, path, _request_id(scope))
        scope.setdefault("state", {})["request_id"] = exchange.id
        try:
            self._admit(exchange)
            await self._app(scope, exchange.receiving, exchange.sending)
        except ProblemError as error:
            await self._refuse(exchange, error)
        except asyncio.CancelledError:  # the end of a server that could not wait any longer
            if not exchange.status:
                await self._refuse(
                    exchange, ProblemError("stopping", "send it again, to whoever follows", retry_seconds=5)
                )
            raise
        except Exception:
            # The application has answered for itself; where it could not, the connection ends with this.
            _logger.exception("request %s to %s", exchange.id, path)
            if not exchange.done:
                raise
        finally:
            self._metrics.requests.labels(path, str(exchange.status)).inc()
            self._metrics.latency.labels(path).observe(time.perf_counter() - started)

    def _admit(self, exchange: _Exchange) -> None:
        if exchange.path.startswith("/v1/"):
            client = exchange.scope.get("client") or ("", 0)
            if wait := self._rates.wait(client[0]):
                raise ProblemError("too-many-requests", f"try again in {wait:.1f} s", retry_seconds=wait)
        if self._token is not None and exchange.path not in OPEN:
            scheme, _, given = exchange.headers.get("authorization", "").partition(" ")
            known = hmac.compare_digest(given.strip().encode(), self._token.encode())
            if scheme.lower() != "bearer" or not known:
                raise ProblemError("unauthorized", "expected the header `Authorization: Bearer TOKEN` with its token")

    async def _refuse(self, exchange: _Exchange, error: ProblemError) -> None:
        """Answers with a problem."""
        self._metrics.errors.labels(error.kind).inc()
        await respond(error, exchange.id)(exchange.scope, exchange.receiving, exchange.sending)


def _request_id(scope: Scope) -> str:
    """The caller's own where it is a plain one, so that logs on both sides can be matched; else a new one."""
    given = Headers(scope=scope).get("x-request-id", "")
    return given if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given) else uuid.uuid4().hex
