"""The command line as real processes: exit codes, what goes where, and what a mistake is answered."""

import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import PROGRAM, PROJECT, clean_environment, commands, groups, run
from PIL import Image

import fashion_tuning
from fashion_tuning.config import load_card
from fashion_tuning.digest import Study
from fashion_tuning.tracking.origin import DatasetInfo, Origin
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.study_run import StudyRun

HEAVY = {"tensorflow", "keras", "keras_tuner", "mlflow", "pandas", "sklearn", "scipy", "numpy"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the shipped cards, as in the project's own folder."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "experiments", folder / "experiments")
    return folder


@pytest.fixture(scope="module")
def store_uri(project: Path) -> str:
    """A store with one study that has no trial."""
    uri = f"sqlite:///{project}/store/mlflow.db"
    card = load_card(PROJECT / "experiments" / "course.toml")
    study = Study(card=card, inputs={})
    dataset = DatasetInfo(name="none", digest="0", source="/none", kind="folder", counts={"train": {"hat": 1}})
    origin = Origin(card, "", "", dataset, study.digest, study.digest, study.parts(), {})
    run = StudyRun.begin(Store(uri), "course", origin, generation=1)
    run.start(origin)
    run.end("KILLED")
    return uri


def complaint(*arguments: str, code: int, folder: Path, **settings: str) -> str:
    """The words of a command that has to end with `code`: a few lines on stderr, and nothing else anywhere."""
    result = run(*arguments, folder=folder, **settings)
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) <= 5
    assert result.stderr.startswith("fashion-tuning: ")
    return result.stderr


@pytest.mark.parametrize("command", [*groups(), *commands()])
def test_help_says_what_a_command_is_for_without_a_heavy_import(command: str, tmp_path: Path) -> None:
    timed = [sys.executable, "-X", "importtime", "-m", "fashion_tuning"]
    result = run(*command.split(), "--help", folder=tmp_path, program=timed)
    assert result.returncode == 0
    assert result.stdout.startswith(f"Usage: fashion-tuning {command}".rstrip())
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in result.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & HEAVY
    assert not list(tmp_path.iterdir())


def test_module_and_console_script_are_the_same(tmp_path: Path) -> None:
    script = shutil.which("fashion-tuning", path=str(Path(sys.executable).parent))
    if script is None:
        pytest.skip("the package is not installed, only on the path")
    for arguments in (["--help"], ["nix"]):
        by_script = run(*arguments, folder=tmp_path, program=[script])
        by_module = run(*arguments, folder=tmp_path)
        assert (by_script.returncode, by_script.stdout, by_script.stderr) == (
            by_module.returncode,
            by_module.stdout,
            by_module.stderr,
        )


@pytest.mark.parametrize("group", groups())
def test_a_group_without_a_command_shows_its_help_as_a_mistake(group: str, tmp_path: Path) -> None:
    result = run(*group.split(), folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == run(*group.split(), "--help", folder=tmp_path).stdout


@pytest.mark.parametrize(
    ("typed", "received", "action"),
    [
        ("nix", "'nix'", "fashion-tuning --help"),
        ("cache nix", "'nix'", "fashion-tuning cache --help"),
        ("--nix", "--nix", "fashion-tuning --help"),
        ("tune --nix", "--nix", "fashion-tuning tune --help"),
        ("tune one.toml two.toml", "two.toml", "fashion-tuning tune --help"),
        ("tune --max-trials 0", "--max-trials", "fashion-tuning tune --help"),
        ("tune --max-trials many", "--max-trials", "fashion-tuning tune --help"),
        ("ui --port 70000", "--port", "fashion-tuning ui --help"),
        ("leaderboard --json --csv", "both --json and --csv", "one of them"),
        ("tune nix.toml", "nix.toml", "name a card"),
        ("tune experiments/demo.toml --data .", "--data .", "no --data"),
        ("final-train experiments/demo.toml --data .", "--data .", "no --data"),
    ],
)
def test_a_mistake_in_the_command_is_2(typed: str, received: str, action: str, project: Path) -> None:
    words = complaint(*typed.split(), code=2, folder=project)
    assert received in words.splitlines()[0]
    assert action in words


def test_a_mistake_in_the_card_is_2_before_anything_is_written(tmp_path: Path) -> None:
    text = (PROJECT / "experiments" / "demo.toml").read_text()
    (tmp_path / "card.toml").write_text(text.replace("\nseed = 1", "\nseed = 0"))
    words = complaint("tune", "card.toml", code=2, folder=tmp_path)
    assert words.startswith("fashion-tuning: card.toml: seed: received 0, expected ")
    assert [path.name for path in tmp_path.iterdir()] == ["card.toml"]


def test_demo_outside_the_project_says_where_to_go(tmp_path: Path) -> None:
    assert "project's folder" in complaint("demo", code=2, folder=tmp_path)


@pytest.mark.parametrize("way", ["option", "environment"])
def test_a_named_folder_that_is_wrong_is_3_and_never_replaced_by_drawings(way: str, tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "experiments", tmp_path / "experiments")
    named = tmp_path / "photos"
    by_option = ["--data", str(named)] if way == "option" else []
    by_environment = {} if way == "option" else {"FASHION_TUNING_DATA": str(named)}
    words = complaint("tune", *by_option, code=3, folder=tmp_path, **by_environment)
    assert str(named) in words.splitlines()[0]
    assert "expected: a folder with train/" in words
    assert [path.name for path in tmp_path.iterdir()] == ["experiments"]


def test_a_disk_that_can_not_be_written_is_6(project: Path) -> None:
    words = complaint("demo", code=6, folder=project, FASHION_TUNING_CACHE=str(project / "experiments" / "demo.toml"))
    assert "FASHION_TUNING_CACHE" in words


def test_a_tracking_uri_that_is_a_folder_is_5(project: Path) -> None:
    words = complaint("leaderboard", "--tracking-uri", "runs", code=5, folder=project)
    assert "'runs' is a folder" in words
    assert not (project / "runs").exists()


def test_a_study_that_the_store_does_not_have_is_2(project: Path, store_uri: str) -> None:
    words = complaint("leaderboard", "nix", code=2, folder=project, MLFLOW_TRACKING_URI=store_uri)
    assert "no study 'nix'" in words
    assert "one of: course" in words


@pytest.mark.parametrize("command", ["leaderboard", "ui"])
def test_reading_makes_no_store(tmp_path: Path, command: str) -> None:
    words = complaint(command, code=2, folder=tmp_path)
    assert "no tracking store" in words
    assert "makes one" in words
    assert list(tmp_path.iterdir()) == []


def test_a_study_without_a_completed_trial_is_4(project: Path, store_uri: str) -> None:
    words = complaint("leaderboard", "course", "--tracking-uri", store_uri, code=4, folder=project)
    assert "has no completed trial" in words


@pytest.mark.parametrize("command", ["ui", "serve"])
def test_a_port_that_is_taken_is_2_before_anything_is_started(command: str, project: Path, store_uri: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        words = complaint(command, "--port", f"{port}", code=2, folder=project, MLFLOW_TRACKING_URI=store_uri)
    assert words.startswith(f"fashion-tuning: port {port} is taken")
    assert re.search(rf"what to do: fashion-tuning {command} --port \d+\n$", words)


BUG = """
from fashion_tuning.cli import app
from fashion_tuning.main import main
@app.command()
def break_down() -> None:
    raise ZeroDivisionError("a planted bug")
main()
"""


def test_a_bug_is_70_with_a_traceback_only_on_demand(tmp_path: Path) -> None:
    program = [sys.executable, "-c", BUG]
    quiet = run("break-down", folder=tmp_path, program=program)
    assert quiet.returncode == 70
    assert "ZeroDivisionError: a planted bug" in quiet.stderr
    assert "--debug" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    loud = run("--debug", "break-down", folder=tmp_path, program=program)
    assert loud.returncode == 70
    assert "Traceback" in loud.stderr


SPILL = """
import logging, threading
from fashion_tuning.cli import app
from fashion_tuning.main import main
def fail(part):
    raise ValueError(f"{part}: can't reach http://ana:geheim@host/api")
@app.command()
def spill() -> None:
    try:
        fail("logged")
    except ValueError:
        logging.getLogger("urllib3").exception("the log: retrying %s", "postgresql://ana:geheim@host/db")
    thread = threading.Thread(target=fail, args=["a thread"])
    thread.start()
    thread.join()
    try:
        fail("a cause")
    except ValueError as error:
        raise RuntimeError("the end: https://host/?token=geheim") from error
main()
"""


def test_whatever_a_library_says_of_a_password_is_masked(tmp_path: Path) -> None:
    result = run("--debug", "spill", folder=tmp_path, program=[sys.executable, "-c", SPILL])
    assert result.returncode == 70
    said = result.stdout + result.stderr
    assert "geheim" not in said
    for part in (
        "the log: retrying postgresql://ana:***@host/db",
        "logged: can't reach http://ana:***@host/api",
        "a thread: can't reach http://ana:***@host/api",
        "a cause: can't reach http://ana:***@host/api",
        "a bug: RuntimeError: the end: https://host/?token=***",
    ):
        assert part in said


def test_an_address_that_is_none_is_told_without_its_password(tmp_path: Path) -> None:
    words = complaint("leaderboard", "--tracking-uri", "ana:geheim@host:5000", code=5, folder=tmp_path)
    assert "geheim" not in words
    assert "ana:***@host:5000" in words


@pytest.mark.parametrize("option", [[], ["--json"]], ids=["table", "json"])
def test_a_reader_that_has_enough_gets_no_complaint(option: list[str], tmp_path: Path) -> None:
    command = [*PROGRAM, "cache", "list", *option]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=clean_environment(tmp_path), stdout=pipe, stderr=pipe, text=True) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == ""
    assert program.returncode == 141


def test_data_prints_json_and_a_table_of_the_same_photos(tmp_path: Path) -> None:
    for number in range(20):
        for label in ("hat", "shirt"):
            path = tmp_path / "photos" / label / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 50), (number * 9, 99, 9 if label == "hat" else 200)).save(path)
    result = run("data", "--data", "photos", "--json", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    counts = found["counts"]
    assert {label: sum(counts[split][label] for split in counts) for label in ("hat", "shirt")} == {
        "hat": 20,
        "shirt": 20,
    }
    table = run("data", folder=tmp_path, FASHION_TUNING_DATA="photos").stdout
    assert found["digest"] in table
    train = counts["train"]
    assert re.search(rf"^hat +{train['hat']} ", table, re.MULTILINE)
    assert re.search(rf"^all +{train['hat'] + train['shirt']} ", table, re.MULTILINE)
    assert "left out: 0" in table


def test_the_cache_is_listed_verified_and_pruned(tmp_path: Path) -> None:
    (tmp_path / "cache" / "features" / "0123abcd").mkdir(parents=True)  # without the key that belongs into it
    (entry,) = json.loads(run("cache", "list", "--json", folder=tmp_path).stdout)
    assert (entry["kind"], entry["name"], entry["state"]) == ("features", "0123abcd", "damaged")
    verified = run("cache", "verify", folder=tmp_path)
    assert verified.returncode == 1
    assert "0123abcd" in verified.stdout
    pruned = run("cache", "prune", folder=tmp_path)
    assert pruned.returncode == 0
    assert "removed features 0123abcd" in pruned.stdout
    assert not (tmp_path / "cache" / "features" / "0123abcd").exists()


def test_the_version_is_one_of_a_release() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", fashion_tuning.__version__)
