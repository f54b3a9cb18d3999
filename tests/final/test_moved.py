"""A whole project that is moved or copied: every command goes on there, and nothing is written into another one."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from command_line import run
from mlflow.tracking import MlflowClient
from serving import garment, serve
from small_card import make_card_text

from fashion_tuning.data.source import Dataset
from fashion_tuning.model.weights import Weights
from fashion_tuning.paths import sqlite_uri

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CARD = (
    make_card_text("random", "max_trials = 2")
    + """
[final]
image_size = 80
epochs = 1
learning_rate_factors = []
"""
)
NAME = "a project, 100%20 #1?"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, small_dataset: Dataset, weights: Weights) -> dict[str, str]:
    cache = tmp_path_factory.mktemp("cache")
    shutil.copytree(weights.path.parent, cache / "weights", copy_function=os.link)
    return {"FASHION_TUNING_CACHE": str(cache), "FASHION_TUNING_DATA": str(small_dataset.root)}


@pytest.fixture
def project(project_as_made: Path) -> Path:
    """A project with a study, its final run and a champion, in the folder where it was made."""
    if project_as_made.exists():
        shutil.rmtree(project_as_made)
    shutil.copytree(project_as_made.with_name("kept"), project_as_made)
    return project_as_made


@pytest.fixture(scope="module")
def project_as_made(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, str]) -> Path:
    folder = tmp_path_factory.mktemp("made") / NAME
    folder.mkdir()
    (folder / "small.toml").write_text(CARD)
    (folder / "garment.jpg").write_bytes(garment("hat"))
    for arguments in (("tune", "small.toml", "--no-report"), ("final-train", "small", "--no-report")):
        done = run(*arguments, folder=folder, **settings)
        assert done.returncode == 0, done.stderr
    shutil.copytree(folder, folder.with_name("kept"))
    return folder


def contents(folder: Path) -> dict[str, str]:
    """Every file with its digest, but for what SQLite keeps beside a database for a while."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    }


def assert_all_work(folder: Path, settings: dict[str, str], *commands: tuple[str, ...]) -> None:
    for arguments in commands:
        done = run(*arguments, folder=folder, **settings)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)


GOING_ON = (
    ("tune", "small.toml", "--max-trials", "3"),
    ("final-train", "small", "--no-report"),
    ("check", "small"),
)


def trial_of(folder: Path) -> str:
    runs = MlflowClient(sqlite_uri(folder / "mlflow.db")).search_runs(["1"], "tags.`fashion.trial` = '1'")
    return next(run.info.run_id for run in runs if "fashion.stage" not in run.data.tags)


def text_of(folder: Path) -> str:
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return "\n".join(database.iterdump())


def test_a_moved_project_goes_on(project: Path, tmp_path: Path, settings: dict[str, str]) -> None:
    moved = tmp_path / "moved & renamed"
    project.rename(moved)
    told = run("leaderboard", "small", folder=moved, **settings)
    assert told.returncode == 0
    assert f"the store in {moved} was in {project}" in told.stderr
    assert_all_work(
        moved,
        settings,
        *GOING_ON,
        ("replay", trial_of(moved), "--repair"),
        ("evaluate", "--split", "validation"),
        ("predict", "garment.jpg"),
        ("report", "small"),
    )
    with serve(moved, **settings) as server, server.client() as client:
        assert client.post("/v1/predict", files={"file": ("a.jpg", garment())}).status_code == 200
    assert not project.exists()
    assert project.as_uri() not in text_of(moved)


def test_a_copied_project_and_its_original_go_on_side_by_side(
    project: Path, tmp_path: Path, settings: dict[str, str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    before = contents(project)
    assert_all_work(copy, settings, *GOING_ON)
    assert contents(project) == before
    after = contents(copy)
    assert_all_work(project, settings, *GOING_ON)
    assert contents(copy) == after
    assert not (project / "mlflow.db-before-move").exists()
