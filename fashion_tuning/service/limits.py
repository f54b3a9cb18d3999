"""What a stranger may send to the service, and how much of it at a time."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of one server.

    Args:
      body_bytes: Of a request's body.
      pixels: Of a picture, looked at before it is decoded; 40 MP are 120 MB as RGB.
      files: Pictures in one request.
      uploads: Bodies that are read at a time; with body_bytes this bounds their memory.
      places: Pictures that are read, wait or are computed at a time.
      header_seconds: For a request's headers; idle_seconds for the next part of its body, body_seconds for all of it.
      answer_seconds: From the body's end to its answer.
      requests_per_minute: Of one client to /v1/; 0: any number.
    """

    body_bytes: int = 10_000_000
    pixels: int = 40_000_000
    files: int = 16
    uploads: int = 64
    places: int = 64
    header_seconds: float = 10.0
    idle_seconds: float = 10.0
    body_seconds: float = 120.0
    answer_seconds: float = 30.0
    requests_per_minute: int = 300


class Rates:
    """A token bucket for each client: `per_minute` requests at once, and as many again within a minute.

    Args:
      capacity: Clients that are remembered; the one that was silent for longest is forgotten first.
    """

    def __init__(self, per_minute: int, *, capacity: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._capacity = capacity
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Seconds until this client may ask, 0 where it may now; then the request counts."""
        if not self._per_minute:
            return 0.0
        now, name = self._clock(), _network(client)
        left, since = self._buckets.pop(name, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - since) * self._per_minute / 60)
        wait = 0.0 if left >= 1 else (1 - left) * 60 / self._per_minute
        self._buckets[name] = (left if wait else left - 1, now)
        if len(self._buckets) > self._capacity:
            self._buckets.popitem(last=False)
        return wait


def _network(client: str) -> str:
    """A client's address; of IPv6 the first 64 bits, since one household has the rest to itself."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else client
