"""Leases in a study run's tags, on a real store: who lives, who takes over, who gives way."""

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fashion_tuning.errors import StudyOwnedError
from fashion_tuning.tracking import lease
from fashion_tuning.tracking.lease import Owner, claim, read_owner, release, renew, require
from fashion_tuning.tracking.store import Store

STUDY = "study x"


@pytest.fixture
def run(new_uri: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Store, str]:
    """A run in a store that counts as one that several machines reach, with short times."""
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.4)
    monkeypatch.setattr(lease, "SETTLING_SECONDS", 0.2)
    monkeypatch.setattr(lease, "LEASE_SECONDS", 2.0)
    store = Store(new_uri(tmp_path))
    store.folder = None
    return store, store.create_run(store.make_experiment("one", description=""), name="study", tags={})


def elsewhere(**changes: object) -> Owner:
    return replace(Owner.here(), **{"host": "elsewhere", "place": "elsewhere", **changes})  # type: ignore[arg-type]


def test_an_owner_survives_its_way_into_a_tag_and_back(run: tuple[Store, str]) -> None:
    owner = Owner.here()
    claim(*run, owner, study=STUDY)
    held = read_owner(*run)
    assert held is not None
    assert replace(held, beat=owner.beat) == owner
    assert held.beat >= owner.beat
    require(run[0].client, run[1], owner, study=STUDY)


def test_a_living_owner_is_left_alone_and_named(run: tuple[Store, str]) -> None:
    owner = elsewhere()
    renew(*run, owner)
    with pytest.raises(StudyOwnedError, match=rf"study x is being run by process {os.getpid()} on elsewhere") as caught:
        claim(*run, Owner.here(), study=STUDY)
    assert caught.value.exit_code == 7
    require(run[0].client, run[1], owner, study=STUDY)


def test_a_released_study_is_taken_at_once(run: tuple[Store, str]) -> None:
    owner, rival = elsewhere(), Owner.here()
    renew(*run, owner)
    release(*run, owner)
    claim(*run, rival, study=STUDY)
    require(run[0].client, run[1], rival, study=STUDY)


def test_an_owner_of_this_machine_lives_as_long_as_its_process() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    import psutil

    owner = replace(Owner.here(), pid=process.pid, started=psutil.Process(process.pid).create_time(), beat=1.0)
    assert owner.lives  # however old its heartbeat: the machine may have slept
    assert not replace(owner, started=owner.started - 60).lives  # another process had that number
    process.communicate()
    assert not owner.lives


def test_an_owner_elsewhere_lives_by_its_heartbeat() -> None:
    assert elsewhere(beat=time.time() - lease.LEASE_SECONDS / 2).lives
    assert not elsewhere(beat=time.time() - lease.LEASE_SECONDS - 1).lives


def test_a_machine_of_the_same_name_is_another_machine() -> None:
    """Its process numbers mean nothing here, nor do those of another container."""
    twin = elsewhere(host=platform.node(), pid=2**22 + 1, beat=time.time())
    assert twin.lives
    assert not replace(twin, place=Owner.here().place).lives


def test_only_a_long_silence_means_that_an_owner_is_gone() -> None:
    assert not elsewhere(beat=time.time() - lease.LEASE_SECONDS - 1).is_gone  # its clock may be wrong
    assert elsewhere(beat=time.time() - lease.GONE_SECONDS - 1).is_gone
    assert elsewhere(beat=0.0).is_gone


def test_only_the_owner_lets_go(run: tuple[Store, str]) -> None:
    owner, rival = elsewhere(), Owner.here()
    renew(*run, rival)
    release(*run, owner)
    require(run[0].client, run[1], rival, study=STUDY)


def test_an_expired_lease_is_taken_over_and_its_owner_finds_out(run: tuple[Store, str]) -> None:
    store, run_id = run
    owner, rival = elsewhere(), Owner.here()
    renew(*run, owner)
    time.sleep(lease.LEASE_SECONDS)
    claim(*run, rival, study=STUDY)
    with pytest.raises(StudyOwnedError, match=f"process {os.getpid()} on {platform.node()}"):
        require(store.client, run_id, owner, study=STUDY)


def test_a_heartbeat_seen_meanwhile_tells_a_slow_clock_from_a_dead_owner(run: tuple[Store, str]) -> None:
    owner = elsewhere()
    renew(*run, owner)
    time.sleep(lease.LEASE_SECONDS)
    beating = threading.Timer(0.2, renew, args=(*run, owner))
    beating.start()
    with pytest.raises(StudyOwnedError, match="on elsewhere"):
        claim(*run, Owner.here(), study=STUDY)
    beating.join()


def test_of_two_that_claim_at_once_one_gives_way(run: tuple[Store, str]) -> None:
    rivals = [replace(Owner.here(), token=name) for name in ("a", "b")]
    outcomes: dict[str, bool] = {}

    def attempt(owner: Owner) -> None:
        try:
            claim(*run, owner, study=STUDY)
            outcomes[owner.token] = True
        except StudyOwnedError:
            outcomes[owner.token] = False

    threads = [threading.Thread(target=attempt, args=(owner,)) for owner in rivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes.values()) == [False, True]
    held = read_owner(*run)
    assert held is not None
    assert outcomes[held.token]


@pytest.mark.parametrize("tag", ["", "{", "[]", '{"token": 1}'])
def test_a_tag_that_is_no_owner_owns_nothing(tag: str) -> None:
    assert lease.parse_owner(tag) is None
