"""A study on a real server with a password: it is shown and kept nowhere, and files are asked for one by one."""

from __future__ import annotations

import base64
import re
import shlex
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from command_line import PROGRAM, clean_environment, run
from front_door import FrontDoor
from mlflow_server import MlflowServer
from serving import garment
from small_card import make_card_text
from study_process import all_runs

from fashion_tuning.data.source import Dataset
from fashion_tuning.model.weights import Weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TEXT = make_card_text() + "\n[final]\nimage_size = 80\nepochs = 1\nlearning_rate_factors = []\n"
CORE = "Xk9vQzW4"  # in whatever form the password is written, this part stays as it is
PASSWORD = f"p@s/:{CORE}?#%41&"
BY_ENVIRONMENT = {"MLFLOW_TRACKING_USERNAME": "ana", "MLFLOW_TRACKING_PASSWORD": PASSWORD}


@dataclass
class Shared:
    """The server behind its door, and where commands run: the store's address with the password, and all that is said.

    `lines` are the command lines of the processes that `tune` started.
    """

    server: MlflowServer
    door: FrontDoor
    folder: Path
    cache: Path
    photos: Path
    said: dict[str, str] = field(default_factory=dict)
    lines: set[str] = field(default_factory=set)

    @property
    def address(self) -> str:
        return f"http://ana:{quote(PASSWORD, safe='')}@{self.door.address}"

    def run(self, *arguments: str, code: int = 0, **settings: str) -> subprocess.CompletedProcess[str]:
        done = run(*arguments, folder=self.folder, FASHION_TUNING_CACHE=str(self.cache), **settings)
        self.said[" ".join(arguments)] = done.stdout + done.stderr
        assert done.returncode == code, done.stderr
        return done

    def ask(self, *arguments: str, code: int = 0, by_address: bool = False) -> Counter[str]:
        """Runs a command with the password in the environment, or in the address; what the server was asked for."""
        self.door.count()
        settings = {} if by_address else BY_ENVIRONMENT
        self.run(*arguments, code=code, MLFLOW_TRACKING_URI=self.address if by_address else self.door.uri, **settings)
        asked = self.door.count()
        print(arguments[0], asked.total(), dict(asked))
        return asked


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, small_dataset: Dataset, feature_cache: Path, weights: Weights
) -> Iterator[Shared]:
    """A study of two trials, run by the command with the password in the address."""
    folder = tmp_path_factory.mktemp("shared")
    if not (feature_cache / "weights").exists():
        (feature_cache / "weights").symlink_to(weights.path.parent)
    (folder / "card.toml").write_text(TEXT)
    (folder / "dress.jpg").write_bytes(garment("dress"))
    with (
        MlflowServer(folder / "server") as server,
        FrontDoor(server.uri, credentials=f"ana:{PASSWORD}") as door,
    ):
        shared = Shared(server, door, folder, feature_cache, small_dataset.root)
        typed = ["tune", "card.toml", "--data", str(small_dataset.root), "--tracking-uri", shared.address]
        process = subprocess.Popen(
            [*PROGRAM, *typed],
            cwd=folder,
            env=clean_environment(folder, FASHION_TUNING_CACHE=str(feature_cache)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process:
            for line in process.stdout or ():
                shared.said["tune"] = shared.said.get("tune", "") + line
                shared.lines.update(" ".join(child.cmdline()) for child in psutil.Process(process.pid).children(True))
        assert process.returncode == 0, shared.said["tune"]
        print("tune", dict(door.count()))
        yield shared


def test_each_command_asks_for_the_files_that_it_needs(shared: Shared) -> None:
    asked = shared.ask("leaderboard", "small")
    # Of each of two trials the predictions of two seeds, and the card.
    assert (asked["read artifact"], asked["list artifacts"]) == (5, 0)
    assert asked.total() <= 12

    asked = shared.ask("check", "small")
    # The card and the manifest, and of each trial's two seeds the predictions and the checkpoints of up to two epochs.
    assert asked["read artifact"] <= 2 + 2 * 2 * (1 + 2)
    assert asked["list artifacts"] <= 1 + 2 * (1 + 2)

    asked = shared.ask("final-train", "small", "--data", str(shared.photos), "--json", by_address=True)
    assert asked["list artifacts"] <= 10
    assert asked["read artifact"] <= 60

    asked = shared.ask("predict", "dress.jpg", "--json", by_address=True)
    assert (asked["read artifact"], asked["list artifacts"]) == (1, 0)
    assert asked.total() <= 4

    asked = shared.ask("evaluate", "fashion-classifier", "--split", "validation", "--data", str(shared.photos))
    # Card and manifest, once to find the model and once to measure it; of two seeds the heads, and the baseline's one.
    assert asked["list artifacts"] == 0
    assert asked["read artifact"] <= 2 * 2 + 2 + 1

    asked = shared.ask("report", "small", by_address=True)
    assert asked["list artifacts"] == 0
    assert asked["read artifact"] <= 20


def test_a_missing_file_is_told_and_not_waited_for(shared: Shared) -> None:
    tags = {run.info.run_id: run.data.tags for run in all_runs(shared.server.uri)}
    trial = next(run for run, tag in tags.items() if tag.get("fashion.trial") == "1" and "fashion.stage" not in tag)
    path = next((shared.folder / "server/artifacts").glob(f"*/{trial}/artifacts/predictions/seed_2.npz"))
    path.rename(shared.folder / "kept.npz")
    try:
        asked = shared.ask("check", "small", code=1)
    finally:
        (shared.folder / "kept.npz").rename(path)
    assert "predictions/seed_2.npz is missing" in shared.said["check small"]
    assert asked["read artifact"] <= 14


def test_the_password_is_shown_and_kept_nowhere(shared: Shared) -> None:
    option = ("--tracking-uri", shared.address)
    shared.run("leaderboard", "small", "--json", *option)
    again = ("tune", "card.toml", "--data", str(shared.photos), "--no-report", "--json")
    shared.run(*again, MLFLOW_TRACKING_URI=shared.address)
    shared.run("leaderboard", "no-such-study", *option, code=2)
    shared.run("predict", "dress.jpg", "--model", "no-such-model", *option, code=2)
    shared.run("ui", *option)
    away = shared.address.replace(shared.door.address, "127.0.0.1:1")
    shared.run("--debug", "leaderboard", "--tracking-uri", away, code=5)
    shared.run("leaderboard", "--tracking-uri", away.removeprefix("http://"), code=5)
    shared.run("leaderboard", "--tracking-uri", f"http://ana:{PASSWORD}{CORE}@{shared.door.address}", code=5)
    shared.run("leaderboard", MLFLOW_TRACKING_URI=shared.door.uri, MLFLOW_TRACKING_TOKEN=f"{PASSWORD}\n", code=5)

    told = "\n".join(shared.said.values())
    assert f"http://ana:***@{shared.door.address}" in told
    assert not forms_in(told.encode())
    assert len(shared.lines) > 1  # a worker, and multiprocessing's own
    assert not forms_in("\n".join(shared.lines).encode())
    files = [path for folder in (shared.folder, shared.cache) for path in folder.rglob("*") if path.is_file()]
    assert {"report.html", "server.db", "environment.txt", "model.keras"} <= {path.name for path in files}
    assert [path for path in files if any(forms_in(content) for content in contents(path))] == []


def test_the_commands_to_type_next_work_with_the_password_in_the_environment(shared: Shared) -> None:
    told = shared.said["tune"]
    assert "next, with MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD set:" in told
    words = shlex.split(re.search(r"this table again +(.*)", told)[1])  # type: ignore[index]
    done = shared.run(*words[1:], **BY_ENVIRONMENT)
    assert "chosen: trial" in done.stdout


def test_a_notebook_shows_no_password_either(shared: Shared) -> None:
    code = "import sys, fashion_tuning; fashion_tuning.load_study('small', tracking_uri=sys.argv[1])"
    for place in ("127.0.0.1:1", f"{shared.door.address}/nowhere"):
        address = shared.address.replace(shared.door.address, place)
        done = subprocess.run([sys.executable, "-c", code, address], capture_output=True, text=True, timeout=120)
        assert (done.returncode, "Traceback" in done.stderr) == (1, True)
        assert not forms_in(done.stderr.encode()), done.stderr


def forms_in(content: bytes) -> bool:
    """Whether the password is in it: as it is, percent-encoded, or as a request carries it."""
    return CORE.encode() in content or base64.b64encode(f"ana:{PASSWORD}".encode()) in content


def contents(path: Path) -> Iterator[bytes]:
    """A file's bytes, and those of what is packed in it."""
    yield path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            yield from (packed.read(name) for name in packed.namelist())
