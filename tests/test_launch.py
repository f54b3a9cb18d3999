"""The whole command as a person runs it: drawn garments without a network, Ctrl-C, and going on."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from fashion_tuning.model.weights import Weights

CARD = """
name = "tiny"
seed = 1
[images]
image_size = 71
[training]
epochs = 3
seeds = 1
[[configurations]]
learning_rate = 0.001
dense_units = 0
dropout = 0.0
[[configurations]]
learning_rate = 0.001
dense_units = 100
dropout = 0.2
epochs = 2000
[[configurations]]
learning_rate = 0.0005
dense_units = 10
dropout = 0.2
"""


pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, weights: Weights) -> Path:
    """A working directory with a card, and a cache that holds the weights."""
    folder = tmp_path_factory.mktemp("person")
    (folder / "cache").mkdir()
    shutil.copytree(weights.path.parent, folder / "cache" / "weights")
    (folder / "card.toml").write_text(CARD)
    return folder


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    nowhere = "http://127.0.0.1:9"  # nothing listens there: every download fails at once
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("FASHION_", "MLFLOW_"))},
        "FASHION_TUNING_CACHE": str(folder / "cache"),
        "HTTPS_PROXY": nowhere,
        "https_proxy": nowhere,
        "NO_PROXY": "",
        "no_proxy": "",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "fashion_tuning", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_ctrl_c_then_the_same_command_goes_on(folder: Path) -> None:
    process = start(folder, "tune", "card.toml", "--json")
    assert process.stdout is not None
    events = []
    for line in process.stdout:
        events.append(json.loads(line))
        if events[-1]["event"] == "epoch_ended" and events[-1]["record"]["trial"] == 2:
            process.send_signal(signal.SIGINT)
            break
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "interrupted; the same command goes on" in errors
    assert "DRAWN GARMENTS" in errors
    assert "Traceback" not in errors
    plan = next(event for event in events if event["event"] == "plan")
    assert plan["experiment"] == "tiny-drawn"
    assert plan["drawn"] is True
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    assert statuses(client, plan["study_run"]) == {1: ["FINISHED"], 2: ["KILLED"]}
    assert client.get_run(plan["study_run"]).info.status == "KILLED"

    shorter = CARD.replace("epochs = 2000", "epochs = 3")
    (folder / "card.toml").write_text(shorter)
    output, _ = start(folder, "tune", "card.toml").communicate(timeout=240)
    assert "configurations.#2.epochs: 2000 -> 3" in output
    again, _ = start(folder, "tune", "card.toml", "--json").communicate(timeout=240)
    lines = [json.loads(line) for line in again.splitlines()]
    assert [line["event"] for line in lines if line["event"] != "features"] == ["plan", "leaderboard", "report"]
    assert lines[0]["resumed"] is True
    assert len(lines[-2]["rows"]) == 3
    assert (folder / lines[-1]["page"]).is_file()
    assert statuses(client, lines[0]["study_run"]) == {1: ["FINISHED"], 2: ["FINISHED"], 3: ["FINISHED"]}


@pytest.mark.slow
def test_drawn_garments_are_announced_at_start_and_end(folder: Path) -> None:
    process = start(folder, "tune", "card.toml")
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert output.count("DRAWN GARMENTS") == 2
    assert "FASHION_TUNING_DATA=FOLDER make tune" in output
    assert "next:" in output


def statuses(client: MlflowClient, study_run: str) -> dict[int, list[str]]:
    """Each trial's attempts and how they ended."""
    experiment = client.get_run(study_run).info.experiment_id
    found: dict[int, list[str]] = {}
    for run in reversed(client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{study_run}'")):
        found.setdefault(int(run.data.tags["fashion.trial"]), []).append(run.info.status)
    return dict(sorted(found.items()))
