"""Who runs a study: an owner's name in the study run's tags, renewed while the owner lives."""

from __future__ import annotations

import json
import os
import platform
import time
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil
from mlflow.entities import RunTag
from mlflow.tracking import MlflowClient

from fashion_tuning.errors import StudyOwnedError
from fashion_tuning.fail_points import passed
from fashion_tuning.tracking.store import Store
from fashion_tuning.wording import duration

OWNER = "fashion.owner"
HEARTBEAT_SECONDS = 10.0
LEASE_SECONDS = 60.0  # without a heartbeat, an owner on another machine is taken for gone
GONE_SECONDS = 900.0  # longer than a store is waited for unless a person says so
SETTLING_SECONDS = 2.0  # a rival's name, written at the same moment, shows by then


@dataclass(frozen=True)
class Owner:
    """A process that runs a study.

    `started` is when the process began and `beat` when it last wrote, in seconds since 1970;
    a `beat` of 0 says that it has let go. `token` tells two of the same process number apart,
    and `place` two machines or containers of the same host name.
    """

    token: str
    host: str
    pid: int
    started: float
    beat: float
    place: str = ""

    @classmethod
    def here(cls) -> Owner:
        """This process, as of now."""
        started = psutil.Process().create_time()
        return cls(uuid.uuid4().hex, platform.node(), os.getpid(), started, time.time(), _place())

    @property
    def lives(self) -> bool:
        """Whether it has to be taken for alive: seen where it is of this place, else by its heartbeat."""
        return self._lives(LEASE_SECONDS)

    @property
    def is_gone(self) -> bool:
        """Whether nothing speaks for its being alive, not even a clock that is wrong or a store that was away."""
        return not self._lives(GONE_SECONDS)

    def _lives(self, seconds: float) -> bool:
        if not self.beat:
            return False
        if self.place == _place():
            return _runs(self.pid, self.started)
        return time.time() - self.beat < seconds

    def error(self, study: str) -> StudyOwnedError:
        """What to raise for `study` when this one owns it."""
        return StudyOwnedError(
            f"{study} is being run by process {self.pid} on {self.host}, "
            f"last heartbeat {duration(max(0.0, time.time() - self.beat))} ago",
            action="wait for it, or stop it; then type the same command again and it goes on from there",
        )


def as_tag(owner: Owner) -> str:
    return json.dumps(asdict(owner))


def read_owner(store: Store, run_id: str, *, patience: float | None = None) -> Owner | None:
    """Who wrote last into a study run that it is theirs; None where nobody did; read-only."""
    run = store.call(lambda client: client.get_run(run_id), patience=patience)
    return parse_owner(run.data.tags.get(OWNER))


def parse_owner(tag: str | None) -> Owner | None:
    try:
        return Owner(**json.loads(tag)) if tag else None
    except (ValueError, TypeError):
        return None  # another version's; its run shows by other means whether it is worked on


def claim(store: Store, run_id: str, owner: Owner, *, study: str) -> None:
    """Makes `owner` the owner of a study run.

    MLflow can't compare and set. So a rival is looked for before and after the own name is
    written, and again before each tell. Where the store is a local database, a file lock has
    settled it already, and nothing is waited for.

    Raises:
      StudyOwnedError: Another one lives.
    """
    if store.folder is None:
        held = read_owner(store, run_id)
        if held is not None and held.lives:
            raise held.error(study)
        if held is not None and held.beat and held.place != owner.place:
            _watch(store, run_id, held, study=study)
    renew(store, run_id, owner)
    passed("lease")
    if store.folder is None:
        time.sleep(SETTLING_SECONDS)
        store.call(lambda client: require(client, run_id, owner, study=study))


def require(client: MlflowClient, run_id: str, owner: Owner, *, study: str) -> None:
    """Makes sure that the study run is still `owner`'s.

    Raises:
      StudyOwnedError: Another one has taken it.
    """
    held = parse_owner(client.get_run(run_id).data.tags.get(OWNER))
    if held is None or held.token != owner.token:
        raise (held or owner).error(study)


def renew(store: Store, run_id: str, owner: Owner, *, patience: float | None = None) -> None:
    """Writes the owner's name with the time of now."""
    tag = RunTag(OWNER, as_tag(replace(owner, beat=time.time())))
    store.call(lambda client: client.log_batch(run_id, tags=[tag]), patience=patience)


def release(store: Store, run_id: str, owner: Owner) -> None:
    """Lets go of a study run, if it is `owner`'s: the next one need not wait."""
    tag = RunTag(OWNER, as_tag(replace(owner, beat=0.0)))

    def operation(client: MlflowClient) -> None:
        held = parse_owner(client.get_run(run_id).data.tags.get(OWNER))
        if held is not None and held.token == owner.token:
            client.log_batch(run_id, tags=[tag])

    store.call(operation)


def _watch(store: Store, run_id: str, held: Owner, *, study: str) -> None:
    """Waits for one more heartbeat of an owner that seems gone: clocks of two machines may differ."""
    time.sleep(HEARTBEAT_SECONDS + SETTLING_SECONDS)
    now = read_owner(store, run_id)
    if now is not None and now != held and now.beat:
        raise replace(now, beat=time.time()).error(study)


def _place() -> str:
    """Names where process numbers mean the same: this boot of this machine, this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux: its network card
        return f"{platform.node()} {uuid.getnode():x}"


def _runs(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        # The kernel counts in hundredths of a second.
        return abs(process.create_time() - started) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
