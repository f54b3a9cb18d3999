"""SIGKILL at every durable write and at random moments: the same command goes on, and nothing differs."""

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import PROGRAM, clean_environment
from mlflow.tracking import MlflowClient
from mlflow_server import MlflowServer
from small_card import BAYESIAN
from study_process import StudyProcess, all_runs, assert_nothing_lost, events, kill_program, outcome, worker_of

from fashion_tuning.data.source import Dataset
from fashion_tuning.fail_points import FAIL_POINTS
from fashion_tuning.model import wheel
from fashion_tuning.model.weights import Weights

pytestmark = pytest.mark.timeout(1800)

FAILING = BAYESIAN.replace("learning_rate = 0.0005", "learning_rate = 1e38").replace(
    "max_value = 1e-2", "max_value = 1e38"
)

Make = Callable[..., StudyProcess]


@pytest.fixture
def study(tmp_path: Path, small_dataset: Dataset, weights: Weights) -> Make:
    """A function that makes a study ready to start, by default with weights in its cache and no features."""

    def make(name: str, card: str = BAYESIAN, *, cache: Path | None = None) -> StudyProcess:
        if cache is None:
            cache = tmp_path / name / "cache"
            shutil.copytree(weights.path.parent, cache / "weights", copy_function=os.link)
        return StudyProcess(tmp_path / name, card, small_dataset.root, cache)

    return make


def unbroken(folder: Path, card: str, dataset: Dataset, weights: Weights, *arguments: str) -> list[dict]:
    shutil.copytree(weights.path.parent, folder / "cache" / "weights", copy_function=os.link)
    process = StudyProcess(folder, card, dataset.root, folder / "cache")
    assert process.run(*arguments) == 0
    return outcome(process.uri)


@pytest.mark.parametrize(
    "points", [("checkpoint:2",), pytest.param(("features:1", "checkpoint:2", "told:2"), marks=pytest.mark.slow)]
)
def test_killed_a_study_equals_its_twin(study: Make, twin: list[dict], points: tuple[str, ...]) -> None:
    process = study("killed")
    for point in points:
        assert process.run(kill_at=point) == -signal.SIGKILL
    assert process.run() == 0
    assert_nothing_lost(process.uri, twin)
    assert check(process) == 0


CUT = """
name = "cut"
seed = 3
[images]
image_size = 71
[views]
number = 1
horizontal_flip = true
[training]
epochs = 3
seeds = 2
[[configurations]]
cut = "block14"
learning_rate = 0.0003
dense_units = 0
dropout = 0.5
optimizer = "adamw"
schedule = "cosine"
warmup_epochs = 1
ema_momentum = 0.9
[[configurations]]
learning_rate = 0.001
dense_units = 0
dropout = 0.0
"""


@pytest.fixture(scope="module")
def cut_twin(
    tmp_path_factory: pytest.TempPathFactory, small_dataset: Dataset, weights: Weights
) -> tuple[Path, list[dict]]:
    """The cache and the outcome of an unbroken study: a trial trains a suffix, another one a head."""
    folder = tmp_path_factory.mktemp("cut")
    return folder / "cache", unbroken(folder, CUT, small_dataset, weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    "points",
    [
        ("state:2",),
        # Before a state, during its first epoch, twice in one epoch, and after the last one.
        ("trial run:1", "metrics:1", "state:1", "metrics:2", "metrics:2", "best values:1"),
        ("state:1", "checkpoint:3", "finished:1", "told:1"),
    ],
)
def test_killed_behind_a_cut_it_goes_on_at_its_last_epoch(
    study: Make, cut_twin: tuple[Path, list[dict]], points: tuple[str, ...]
) -> None:
    cache, twin = cut_twin
    process = study("cut", CUT, cache=cache)
    for point in points:
        assert process.run(kill_at=point) == -signal.SIGKILL, point
    assert process.run() == 0
    assert_nothing_lost(process.uri, twin, also=["views.png"])
    assert check(process, name="cut") == 0
    first, resumed = attempts_at_the_first(process)
    if points == ("state:2",):
        assert resumed == [None, first[0]]
    assert resumed[0] is None
    assert any(resumed[1:])


def attempts_at_the_first(process: StudyProcess) -> tuple[list[str], list[str | None]]:
    """Run ids of all attempts at the first trial, and what each went on from; none of them holds a state any more."""
    trials = [run for run in all_runs(process.uri) if run.data.tags["fashion.kind"] == "trial"]
    assert not any(MlflowClient(process.uri).list_artifacts(run.info.run_id, "resume") for run in trials)
    first = [run for run in trials if run.data.tags["fashion.trial"] == "1"]
    first.sort(key=lambda run: int(run.data.tags["fashion.attempt"]))
    return [run.info.run_id for run in first], [run.data.tags.get("fashion.resumed_from") for run in first]


@pytest.mark.slow
def test_a_state_that_was_cut_short_is_passed_over_for_an_earlier_attempt(
    study: Make, cut_twin: tuple[Path, list[dict]]
) -> None:
    cache, twin = cut_twin
    process = study("short", CUT, cache=cache)
    for _ in range(2):
        assert process.run(kill_at="state:1") == -signal.SIGKILL
    (second,) = process.folder.glob("mlruns/cut/*/artifacts/resume/epoch_02.npz")
    os.truncate(second, 1000)
    assert process.run() == 0
    assert_nothing_lost(process.uri, twin, also=["views.png"])
    first, resumed = attempts_at_the_first(process)
    assert resumed == [None, first[0], first[0]]


@pytest.mark.slow
def test_behind_a_cut_it_goes_on_with_a_server_as_well(
    tmp_path: Path, small_dataset: Dataset, cut_twin: tuple[Path, list[dict]]
) -> None:
    cache, twin = cut_twin
    with MlflowServer(tmp_path / "server") as server:
        process = StudyProcess(tmp_path / "study", CUT, small_dataset.root, cache, server.uri)
        assert process.run(kill_at="state:2") == -signal.SIGKILL
        assert process.run() == 0
        assert_nothing_lost(process.uri, twin, also=["views.png"])
        first, resumed = attempts_at_the_first(process)
    assert resumed == [None, first[0]]


LONG = BAYESIAN.replace("max_trials = 4", "max_trials = 14")
IN_A_TRIAL = FAIL_POINTS[FAIL_POINTS.index("trial run") : FAIL_POINTS.index("standing") + 1]
# Once each where a study comes by, those of a trial a second time deeper in; the last two where the study ends.
UNUSUAL = ("weights", "error", "failed", "state", "study ended", "let go")
EVERY_POINT = (
    *(
        f"{point}:1"
        for point in FAIL_POINTS
        if point not in ("weights", "error", "failed", "state", "study ended", "let go")
    ),
    *(f"{point}:2" for point in IN_A_TRIAL if point not in ("error", "failed", "state")),
    "study ended:1",
    "let go:1",
)


@pytest.mark.slow
def test_killed_at_every_point_in_turn_a_study_equals_its_twin(
    study: Make, tmp_path: Path, small_dataset: Dataset, weights: Weights
) -> None:
    expected = unbroken(tmp_path / "twin", LONG, small_dataset, weights)
    process = study("every", LONG)
    for point in EVERY_POINT:
        assert process.run(kill_at=point) == -signal.SIGKILL, point
    assert process.run() == 0
    print(f"survived {len(EVERY_POINT)} kills")
    assert_nothing_lost(process.uri, expected)
    assert check(process) == 0


@pytest.mark.slow
def test_killed_when_the_weights_are_stored(study: Make, twin: list[dict], tmp_path: Path, wheel_file: Path) -> None:
    cache = tmp_path / "cache"
    (cache / "weights").mkdir(parents=True)
    (cache / "weights" / wheel.FILE_NAME).symlink_to(wheel_file)
    process = study("weights", cache=cache)
    assert process.run(kill_at="weights") == -signal.SIGKILL
    assert process.run() == 0
    assert_nothing_lost(process.uri, twin)


@pytest.mark.slow
def test_killed_when_a_trial_has_failed(study: Make, tmp_path: Path, small_dataset: Dataset, weights: Weights) -> None:
    expected = unbroken(tmp_path / "twin", FAILING, small_dataset, weights)
    assert len(expected) == 3  # and the diverged one
    process = study("failed", FAILING)
    for point in ("error", "failed"):
        assert process.run(kill_at=point) == -signal.SIGKILL
    assert process.run() == 0
    assert outcome(process.uri) == expected
    assert check(process) == 0


def check(process: StudyProcess, *, name: str = "small") -> int:
    """Exit code of `check` on the study of that name."""
    environment = clean_environment(process.folder, FASHION_TUNING_CACHE=str(process.cache))
    command = [*PROGRAM, "check", name, "--tracking-uri", process.uri]
    done = subprocess.run(command, cwd=process.folder, env=environment, capture_output=True, text=True, timeout=300)
    print(done.stdout, done.stderr)
    return done.returncode


class Killer:
    """Kills a study at random moments: the whole program, its coordinator alone, or its worker alone.

    A worker's death uses up one of its trial's three attempts, so that no trial gets three.
    """

    def __init__(self, process: StudyProcess, *arguments: str, seed: int) -> None:
        self.kills: Counter[str] = Counter()
        self._process = process
        self._arguments = arguments
        self._random = random.Random(seed)
        self._deaths: Counter[int] = Counter()
        self._seconds_to_start = 10.0

    def start_and_kill(self) -> bool:
        """One start of the program and one or more kills; False where the study came to its end first."""
        process = self._process.start(*self._arguments)
        trial: list[int] = []
        started = time.monotonic()
        reader = threading.Thread(target=self._read, args=(process, trial, started), daemon=True)
        reader.start()
        target = self._random.choice(["program", "coordinator", "worker", "program"])
        # From before the first import to the middle of some trial.
        time.sleep(self._random.uniform(0.0, self._seconds_to_start + 4.0))
        if process.poll() is None and target == "worker":
            self._kill_worker(process, trial)
            time.sleep(self._random.uniform(0.0, 3.0))
        ended = process.poll() is not None
        if not ended:
            self.kills["coordinator" if target == "coordinator" else "program"] += 1
            if target == "coordinator":
                os.kill(process.pid, signal.SIGKILL)
            else:
                kill_program(process)
        code = process.wait(timeout=60)
        reader.join(timeout=60)
        assert process.stderr is not None
        errors = process.stderr.read()
        process.stderr.close()
        assert code in (0, -signal.SIGKILL), errors
        return not ended

    def _read(self, process: subprocess.Popen[str], trial: list[int], started: float) -> None:
        for event in events(process):
            if event["event"] == "trial_started":
                if not trial:
                    self._seconds_to_start = time.monotonic() - started
                trial[:] = [event["record"]["trial"]]
        if process.stdout is not None:
            process.stdout.close()

    def _kill_worker(self, process: subprocess.Popen[str], trial: list[int]) -> None:
        worker = worker_of(process)
        running = trial[0] if trial else 0
        # The next trial may have begun before the signal arrives: it is counted as well.
        if worker is None or max(self._deaths[running], self._deaths[running + 1]) >= 2:
            return
        self._deaths[running] += 1
        self._deaths[running + 1] += 1
        worker.kill()
        self.kills["worker"] += 1


@pytest.mark.slow
def test_five_random_kills_change_nothing(study: Make, twin: list[dict]) -> None:
    process = study("random")
    killer = Killer(process, seed=1)
    while killer.kills.total() < 5 and killer.start_and_kill():
        pass
    assert process.run() == 0
    assert_nothing_lost(process.uri, twin)
    assert check(process) == 0


@pytest.mark.slow
def test_fifty_random_kills_change_nothing(
    study: Make, tmp_path: Path, small_dataset: Dataset, weights: Weights
) -> None:
    expected = unbroken(tmp_path / "twin", BAYESIAN, small_dataset, weights, "--max-trials", "60")
    process = study("random")
    killer = Killer(process, "--max-trials", "60", seed=2)
    while killer.kills.total() < 50:
        assert killer.start_and_kill(), f"the study was complete after {killer.kills}"
    print(f"survived {dict(killer.kills)}")
    assert process.run("--max-trials", "60") == 0
    assert_nothing_lost(process.uri, expected)
    assert check(process) == 0
