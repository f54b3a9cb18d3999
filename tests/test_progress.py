"""A study's events as lines, as a live bar and as JSON."""

import io
import json
import re
import time
from dataclasses import replace

import pytest
from rich.console import Console
from small_board import failed_record, trial_record

from fashion_tuning.progress import (
    LineProgress,
    LiveProgress,
    features_text,
    plan_text,
    standing_text,
    trial_text,
)
from fashion_tuning.show import Terminal
from fashion_tuning.study.events import EpochEnded, Event, FeaturesProgress, Plan, TrialEnded, TrialStarted

PLAN = Plan(
    card="xception-150",
    tuner="bayesian",
    dataset="clothing-dataset-small",
    drawn=False,
    counts={"train": 3068, "validation": 341},
    classes=tuple("abcdefghij"),
    image_size=150,
    max_trials=20,
    trials_ended=0,
    seeds=3,
    epochs=10,
    images_cached=0,
    images_missing=3409,
    seconds=257.0,
    checkpoint_bytes=3_100_000_000,
    feature_bytes=27_926_528,
    experiment="xception-150",
    study_run="5" * 32,
    store="sqlite:////home/someone/fashion-tuning/mlflow.db",
    generation=1,
    resumed=False,
    changed=(),
)
ENDED = TrialEnded(trial_record(7), trial_record(3, 0.8403), 7, 20, 62.0)
EVENTS: list[Event] = [
    PLAN,
    FeaturesProgress(0, 3409, 0, 0.0, waiting=False),
    FeaturesProgress(1024, 3409, 1024, 40.0, waiting=False),
    FeaturesProgress(3409, 3409, 3409, 133.0, waiting=False),
    TrialStarted(trial_record(7, status="RUNNING", tell=None), 20),
    EpochEnded(trial_record(7, status="RUNNING", tell=None), 1, 0.7801, 0.7801, 754.0),
    ENDED,
    TrialEnded(failed_record(8), trial_record(3, 0.8403), 8, 20, 57.0),
]


def test_the_plan_tells_what_the_splits_share() -> None:
    plan = replace(PLAN, shared={"train and test": 1, "train and validation": 2})
    (line,) = set(plan_text(plan).splitlines()) - set(plan_text(PLAN).splitlines())
    told, _, where = line.strip().partition("; ")
    assert told == "3 pictures stand in several splits: 1 in train and test, 2 in train and validation"
    assert where == "fashion-tuning data lists them"


def test_a_plan_counts_views() -> None:
    lines = plan_text(replace(PLAN, num_views=4, images_missing=15_681, images_cached=3_409)).splitlines()
    assert "  features  at 150 px, 4 views of train: 15,681 to compute, 3,409 cached" in lines


def test_a_plan_names_the_teacher() -> None:
    lines = plan_text(replace(PLAN, teacher="trial 01 of fine-tune-seeds, mean of 3 seeds")).splitlines()
    assert "  teacher   trial 01 of fine-tune-seeds, mean of 3 seeds" in lines
    assert not any("teacher" in line for line in plan_text(PLAN).splitlines())


def test_a_plan_says_photos_trials_time_and_disk_within_80_characters() -> None:
    lines = plan_text(PLAN).splitlines()
    assert max(len(line) for line in lines) <= 80
    text = " ".join(" ".join(lines).split())
    for part in (
        "plan: xception-150 (bayesian)",
        "clothing-dataset-small: 3,068 train, 341 validation; 10 classes",
        "trials 20, each of 3 seeds and up to 10 epochs",
        "features at 150 px: 3,409 to compute, 0 cached",
        "about 4 min 17 s, a rough estimate",
        "at most 3.1 GB of checkpoints and 27.9 MB of features",
        f"experiment xception-150, run {'5' * 32}",
        "sqlite:////home/someone/fashion-tuning/mlflow.db",
    ):
        assert part in text
    assert "generation" not in text
    assert "resumed" not in text


def test_a_plan_says_why_there_are_fewer_trials_than_were_asked_for() -> None:
    plan = replace(PLAN, max_trials=4, short="not 50: the grid has no more than 4 combinations", epochs=1)
    text = plan_text(plan)
    assert "  trials    4, each of 3 seeds and up to 1 epoch\n            not 50: the grid has no more than 4" in text


def test_a_plan_says_what_is_different_this_time() -> None:
    plan = replace(
        PLAN, max_trials=None, seeds=1, trials_ended=4, generation=2, resumed=True, changed=("seed: 1 -> 2",)
    )
    text = plan_text(plan)
    assert "until the tuner ends, each of 1 seed and up to 10 epochs; 4 are there already" in text
    assert ", generation 2, resumed" in text
    assert text.endswith("differ from the last one of this name:\n    seed: 1 -> 2")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (FeaturesProgress(0, 3409, 0, 0.0, waiting=False), "features 0/3,409"),
        (
            FeaturesProgress(1024, 3409, 1000, 40.0, waiting=False),
            "features 1,024/3,409, 25.0 images/s, 1 min 35 s left",
        ),
        (FeaturesProgress(3409, 3409, 3409, 133.0, waiting=False), "features 3,409/3,409, 25.6 images/s"),
        (FeaturesProgress(64, 3409, 0, 9.0, waiting=True), "features 64/3,409, another process computes them"),
    ],
)
def test_features_text(event: FeaturesProgress, text: str) -> None:
    assert features_text(event) == text


def test_a_completed_trial_is_one_line_of_a_terminal() -> None:
    record = trial_record(7, metrics={**ENDED.record.metrics, "seconds": 8.04})
    text = trial_text(replace(ENDED, record=record))
    assert text == "trial 07/20 lr 0.000517 dense 1000 drop 0.3 val 0.8308 ± 0.0191 epoch 10, 8.0 s"
    assert len(text) <= 80


def test_a_failed_trial_says_why() -> None:
    assert trial_text(TrialEnded(failed_record(8), None, 8, None, None)) == (
        "trial 08 lr 0.000517 dense 1000 drop 0.3 FAILED: diverged: loss is NaN in epoch 2"
    )


def test_a_dropout_between_tenths_is_shown_as_it_is() -> None:
    record = trial_record(7, values={"learning_rate": 0.01, "dense_units": 0, "dropout": 0.25})
    assert " drop 0.25 " in trial_text(replace(ENDED, record=record))


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (ENDED, "7/20, best 0.8403, 1 min 2 s left"),
        (replace(ENDED, seconds_left=0.0, trials_ended=20), "20/20, best 0.8403"),
        (replace(ENDED, best=None, max_trials=None, seconds_left=None), "7 ended"),
    ],
)
def test_standing_text(event: TrialEnded, text: str) -> None:
    assert standing_text(event) == text


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Terminal(as_json=True).progress() as report:
        for event in EVENTS:
            report(event)
    out, err = capsys.readouterr()
    objects = [json.loads(line) for line in out.splitlines()]
    assert [one["event"] for one in objects] == [
        "plan",
        "features",
        "features",
        "features",
        "trial_started",
        "epoch_ended",
        "trial_ended",
        "trial_ended",
    ]
    assert objects[0]["counts"] == {"train": 3068, "validation": 341}
    assert objects[-2]["record"]["values"] == {"learning_rate": 0.000517, "dense_units": 1000, "dropout": 0.3}
    assert objects[-2]["best"]["metrics"]["best_val_accuracy"] == 0.8403
    assert objects[-1]["record"]["error"] == "diverged"
    assert err == ""


def test_lines_leave_out_what_comes_too_often() -> None:
    lines: list[str] = []
    now: list[str] = []
    progress = LineProgress(lines.append, note=now.append)
    for event in EVENTS:
        progress.report(event)
    assert [line.split("\n")[0].split(" lr ")[0] for line in lines] == [
        "plan: xception-150 (bayesian)",
        "features 3,409/3,409, 25.6 images/s",
        "trial 07/20",
        "trial 08/20",
    ]
    assert now == [
        "starting Keras",
        "features 0/3,409",
        "features 1,024/3,409, 25.6 images/s, 1 min 33 s left",
        "features 3,409/3,409, 25.6 images/s",
        "trial 07 starts",
        "trial 07 epoch 1/10, val accuracy 0.7801 so far, 12 min 34 s left",
        "between two trials",
        "between two trials",
    ]
    assert lines[-2].endswith("  [7/20, best 0.8403, 1 min 2 s left]")


def test_features_that_are_all_there_are_no_news() -> None:
    lines: list[str] = []
    LineProgress(lines.append, note=str).report(FeaturesProgress(3409, 3409, 0, 0.0, waiting=False))
    assert lines == []


def plain(text: str) -> str:
    """Without colours and cursor movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_a_terminal_keeps_the_lines_and_loses_the_bar() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=80, highlight=False, soft_wrap=True)
    bars = [
        "starting Keras",
        "features 0/3,409",
        "features 1,024/3,409, 25.6 images/s, 1 min 33 s left",
        "features 3,409/3,409, 25.6 images/s",
        "trial 07 starts",
        "trial 07 epoch 1/10 0.7801",
        "7/20, best 0.8403, 1 min 2 s left",
        "8/20, best 0.8403, 57 s left",
    ]
    with LiveProgress(console) as live:
        for event, bar in zip(EVENTS, bars, strict=True):
            live.report(event)
            deadline = time.monotonic() + 20  # the bar is drawn ten times a second, if the machine has the time
            while f"━ {bar}" not in plain(written.getvalue()):
                assert time.monotonic() < deadline, bar
                time.sleep(0.02)
    text = plain(written.getvalue())
    kept = [line.rpartition("\r")[2] for line in text.split("\n")]
    assert [line for line in kept if line and not line.startswith((" ", "━"))] == [
        "plan: xception-150 (bayesian)",
        "features 3,409/3,409, 25.6 images/s",
        trial_text(ENDED),
        trial_text(EVENTS[-1]),  # type: ignore[arg-type]
    ]
    assert kept[-1] == ""
