"""Whole studies as real processes that may be killed, and what has to be the same afterwards."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import psutil
from command_line import PROGRAM, clean_environment
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from fashion_tuning.fail_points import SETTING


@dataclass(frozen=True)
class StudyProcess:
    """How a study is started: in `folder`, with a card, photos and a cache.

    `store` is the tracking URI; None means mlflow.db in the folder.
    """

    folder: Path
    card_text: str
    photos: Path
    cache: Path
    store: str | None = None

    @property
    def uri(self) -> str:
        return self.store or f"sqlite:///{self.folder / 'mlflow.db'}"

    def start(
        self,
        *arguments: str,
        kill_at: str = "",
        prefix: tuple[str, ...] = (),
        command: str = "tune",
        **settings: str,
    ) -> subprocess.Popen[str]:
        """Starts `tune --json` in a process group of its own; `prefix` is a command that starts commands."""
        self.folder.mkdir(parents=True, exist_ok=True)
        card = self.folder / "card.toml"
        card.write_text(self.card_text)
        settings = {**settings, "FASHION_TUNING_CACHE": str(self.cache), SETTING: kill_at}
        typed = [*PROGRAM, command, "card.toml", "--json", "--no-report", "--data", str(self.photos)]
        return subprocess.Popen(
            [*prefix, *typed, "--tracking-uri", self.uri, *arguments],
            cwd=self.folder,
            env=clean_environment(self.folder, **settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, kill_at: str = "", command: str = "tune", **settings: str) -> int:
        """Starts the study and waits for its end; the exit code."""
        process = self.start(*arguments, kill_at=kill_at, command=command, **settings)
        _, errors = process.communicate(timeout=600)
        assert process.returncode in (0, -signal.SIGKILL), errors
        return process.returncode


def events(process: subprocess.Popen[str]) -> Iterator[dict]:
    """What a started study reports, as it comes, until it ends or is killed."""
    assert process.stdout is not None
    for line in process.stdout:
        try:
            yield json.loads(line)
        except ValueError:
            return  # cut short by the kill


def kill_program(process: subprocess.Popen[str]) -> None:
    """SIGKILL to the coordinator and its workers at once."""
    os.killpg(process.pid, signal.SIGKILL)


def worker_of(process: subprocess.Popen[str]) -> psutil.Process | None:
    """The child process that trains; multiprocessing's resource tracker is the other one."""
    try:
        for child in psutil.Process(process.pid).children():
            if any("spawn_main" in part for part in child.cmdline()):
                return child
    except psutil.Error:
        return None
    return None


def wait_for(condition, *, seconds: float) -> None:
    """Waits until condition() holds.

    Raises:
      TimeoutError: It does not.
    """
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"still not after {seconds} s")
        time.sleep(0.05)


def all_runs(uri: str) -> list[Run]:
    client = MlflowClient(uri)
    return [run for experiment in client.search_experiments() for run in client.search_runs([experiment.experiment_id])]


def outcome(uri: str) -> list[dict]:
    """Everything of a store's one study that a crash must not change, trial by trial."""
    client = MlflowClient(uri)
    trials = [run for run in all_runs(uri) if run.data.tags["fashion.kind"] == "trial"]
    counting = [run for run in trials if run.info.status == "FINISHED"]
    return [_trial(client, run) for run in sorted(counting, key=lambda run: int(run.data.tags["fashion.trial"]))]


def _trial(client: MlflowClient, run: Run) -> dict:
    folder = Path(client.download_artifacts(run.info.run_id, ""))
    arrays = {}
    for path in sorted((folder / "predictions").iterdir()):
        with np.load(path) as kept:
            arrays[path.name] = kept["probabilities"].tolist()
    checkpoints = sorted(folder.glob("checkpoints/*/*.keras"))
    return {
        "tags": {name: run.data.tags[f"fashion.{name}"] for name in ("trial", "ask", "tell", "values", "scope")},
        "params": dict(run.data.params),
        "metrics": {name: value for name, value in run.data.metrics.items() if not name.startswith("seconds")},
        "curves": {
            name: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
            if name.endswith(("loss", "/accuracy", "/val_accuracy"))
        },
        "predictions": arrays,
        "checkpoints": {
            path.relative_to(folder).as_posix(): [array.tolist() for array in _weights(path)] for path in checkpoints
        },
    }


def _weights(path: Path) -> list[np.ndarray]:
    return keras.saving.load_model(path, safe_mode=True).get_weights()


def assert_nothing_lost(uri: str, twin: list[dict], *, also: Collection[str] = ()) -> None:
    """The study in the store equals its unbroken twin, and nothing lies about; `also` are more of its artifacts."""
    assert outcome(uri) == twin
    runs = all_runs(uri)
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED", "FAILED"}
    studies = [run for run in runs if run.data.tags["fashion.kind"] == "study"]
    assert [run.info.status for run in studies] == ["FINISHED"]
    assert studies[0].data.metrics["trials_completed"] == len(twin)
    assert studies[0].data.metrics["best_val_accuracy"] == max(one["metrics"]["best_val_accuracy"] for one in twin)
    client = MlflowClient(uri)
    artifacts = {entry.path for entry in client.list_artifacts(studies[0].info.run_id)}
    assert artifacts == {"card.toml", "manifest.csv", "environment.txt", *also}
    assert studies[0].inputs.dataset_inputs
