"""A sign of life from long work: what is said, how often, and where."""

import json
import os
import time
from collections.abc import Callable

import pytest
from small_board import trial_record

from fashion_tuning.pulse import Pulse
from fashion_tuning.quiet import silent_stderr
from fashion_tuning.show import Terminal
from fashion_tuning.streams import ReaderGoneError
from fashion_tuning.study.events import EpochEnded, TrialStarted

STARTED = TrialStarted(trial_record(3, status="RUNNING", tell=None), 20)
EPOCH = EpochEnded(trial_record(3, status="RUNNING", tell=None), 4, 0.8011, 0.8123, 720.0)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_long_work_says_what_it_does_again_and_again() -> None:
    said: list[str] = []
    pulse = Pulse(said.append, seconds=0.02)
    with pulse.beating("writing the report"):
        wait_until(lambda: len(said) > 2)
        with pulse.beating("drawing"):
            pulse.note("drawing: 3 of 20")
            wait_until(lambda: said[-1] == "drawing: 3 of 20")
        wait_until(lambda: said[-1] == "writing the report")
    number = len(said)
    time.sleep(0.1)
    assert len(said) == number
    assert set(said) == {"writing the report", "drawing: 3 of 20"}


def test_news_takes_the_place_of_a_sign_of_life() -> None:
    said: list[str] = []
    pulse = Pulse(said.append, seconds=0.5)
    with pulse.beating("features"):
        until = time.monotonic() + 1
        while time.monotonic() < until:
            pulse.spoke()
            time.sleep(0.005)
    assert said == []


def test_what_has_not_changed_for_long_says_since_when() -> None:
    said: list[str] = []
    pulse = Pulse(said.append, seconds=0.7)
    with pulse.beating("writing the report"):
        wait_until(lambda: said)
        pulse.note("trial 03 epoch 4/10")
        wait_until(lambda: len(said) == 2)
    assert said == ["writing the report, 1 s so far", "trial 03 epoch 4/10, 1 s ago"]


def test_a_reader_that_has_gone_is_left_to_who_works() -> None:
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        raise ReaderGoneError

    with Pulse(say, seconds=0.01).beating("x"):
        wait_until(lambda: said)
        time.sleep(0.05)
    assert said == ["x"]


def test_a_study_says_the_epoch_among_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    written: list[str] = []
    with Terminal(silence=0.02).progress() as report:
        report(STARTED)
        report(EPOCH)
        wait_until(lambda: written.extend(capsys.readouterr().out.splitlines()) or "12 min left" in "".join(written))
    assert "trial 03 epoch 4/10, val accuracy 0.8123 so far, 12 min left" in written


def test_a_study_in_json_has_an_event_an_epoch_and_a_sign_of_life(capsys: pytest.CaptureFixture[str]) -> None:
    written: list[dict] = []

    def read() -> bool:
        written.extend(map(json.loads, capsys.readouterr().out.splitlines()))
        return any(event["event"] == "progress" for event in written)

    with Terminal(as_json=True, silence=0.02).progress() as report:
        report(EPOCH)
        wait_until(read)
    epoch = next(event for event in written if event["event"] == "epoch_ended")
    assert (epoch["epoch"], epoch["val_accuracy"], epoch["best_val_accuracy"], epoch["seconds_left"]) == (
        4,
        0.8011,
        0.8123,
        720.0,
    )
    text = next(event["text"] for event in written if event["event"] == "progress")
    assert text.startswith("trial 03 epoch 4/10, val accuracy 0.8123 so far, 12 min left")


@pytest.mark.parametrize("as_json", [False, True])
def test_other_work_says_it_beside_the_answer_in_a_silence_too(
    as_json: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    heard: list[str] = []
    terminal = Terminal(as_json=as_json, silence=0.02)
    with terminal.counting("verifying photos") as tell:
        tell(1200, 3409)
        wait_until(lambda: heard.append(capfd.readouterr().err) or "1,200 of 3,409" in heard[-1])
        with silent_stderr():
            os.write(2, b"a library's words\n")
            tell(1300, 3409)
            time.sleep(0.1)
        heard.append(capfd.readouterr().err)
    assert "verifying photos: 1,300 of 3,409\n" in heard[-1]
    assert "library" not in heard[-1]
    assert capfd.readouterr().out == ""
