"""A project folder that is moved or copied: its store finds its artifacts there, and nothing leads into another one."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import clean_environment
from mlflow.tracking import MlflowClient
from test_files import files_of_at_most

from fashion_tuning.errors import DiskError, StoreError
from fashion_tuning.fail_points import MOVED_FAIL_POINTS, SETTING
from fashion_tuning.files import scratch_folder
from fashion_tuning.paths import local_path, sqlite_uri
from fashion_tuning.tracking.artifacts import artifacts
from fashion_tuning.tracking.store import Store

KEPT = "mlflow.db-before-move"
OPEN = "import sys; from fashion_tuning.tracking.store import Store; Store(must_exist=sys.argv[1] == 'read')"


@dataclass(frozen=True)
class Project:
    """A folder with a store; of its one run with artifacts the id."""

    folder: Path
    run_id: str

    @property
    def uri(self) -> str:
        return sqlite_uri(self.folder / "mlflow.db")

    def at(self, folder: Path) -> Project:
        """The same project in another folder."""
        return Project(folder, self.run_id)

    def locations(self) -> dict[str, list[str]]:
        """Everything in the database that names a place, by table."""
        with closing(sqlite3.connect(self.folder / "mlflow.db")) as database:
            return {
                table: [row[0] for row in database.execute(f"select {column} from {table}")]
                for table, column in (
                    ("experiments", "artifact_location"),
                    ("runs", "artifact_uri"),
                    ("logged_models", "artifact_location"),
                    ("model_versions", "source"),
                    ("model_versions as version", "storage_location"),
                )
            }

    def dump(self) -> list[str]:
        with closing(sqlite3.connect(self.folder / "mlflow.db")) as database:
            return list(database.iterdump())

    def files(self) -> set[Path]:
        return {path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file()}

    def open(self, **settings: object) -> Store:
        return Store(self.uri, **settings)  # type: ignore[arg-type]

    def read(self, store: Store) -> str:
        """The run's artifact, as this program reads it."""
        with artifacts(store, self.run_id, "model/note.txt") as folder:
            return (folder / "model" / "note.txt").read_text()


@pytest.fixture
def project(tmp_path: Path, new_uri: Callable[[Path], str]) -> Project:
    return make_project(tmp_path / "project", new_uri)


def make_project(folder: Path, new_uri: Callable[[Path], str]) -> Project:
    """A project with a run, one without artifacts, a logged model and versions, of which one names a file."""
    new_uri(folder)
    store = Store(sqlite_uri(folder / "mlflow.db"))
    experiment = store.make_experiment("small", description="")
    run = store.create_run(experiment, name="trial", tags={})
    store.create_run(experiment, name="another", tags={})
    write(store, run, "as it was")
    model = store.client.create_logged_model(experiment, name="model")
    store.client.create_registered_model("fashion-classifier")
    for source in (
        f"runs:/{run}/model",
        f"{store.client.get_run(run).info.artifact_uri}/model",
        model.artifact_location,
    ):
        store.client.create_model_version("fashion-classifier", source, run_id=run)
    return Project(folder, run)


def write(store: Store, run: str, text: str) -> None:
    with scratch_folder() as folder:
        (folder / "note.txt").write_text(text)
        store.upload(run, folder / "note.txt", "model")


def assert_at_home(project: Project, *elsewhere: str) -> None:
    """Every location is the project's own; `elsewhere` are those that somebody chose."""
    own = (project.folder / "mlruns").as_uri()
    places = [location for places in project.locations().values() for location in places]
    assert [location for location in places if not location.startswith((f"{own}/", "runs:/"))] == [*elsewhere]
    assert any(location.startswith(own) for location in project.locations()["model_versions"])


def test_a_moved_project_finds_its_artifacts(project: Project, tmp_path: Path, caplog) -> None:
    before = project.dump()
    project.folder.rename(tmp_path / "elsewhere")
    moved = project.at(tmp_path / "elsewhere")
    store = moved.open()
    assert moved.read(store) == "as it was"
    assert_at_home(moved)
    (line,) = caplog.messages
    assert line.count("\n") == 0
    assert f"the store in {moved.folder} was in {project.folder}" in line
    assert KEPT in line
    write(store, store.create_run(store.make_experiment("small", description=""), name="new", tags={}), "new")
    assert not project.folder.exists()
    with closing(sqlite3.connect(moved.folder / KEPT)) as copy:
        assert list(copy.iterdump()) == before

    caplog.clear()
    once = moved.dump()
    assert moved.read(moved.open(must_exist=True)) == "as it was"
    assert (caplog.messages, moved.dump()) == ([], once)


def test_a_copied_project_never_writes_into_the_original(project: Project, tmp_path: Path) -> None:
    copy = project.at(tmp_path / "a copy, 100% of it?")
    shutil.copytree(project.folder, copy.folder)
    files, database = project.files(), project.dump()
    store = copy.open()
    assert_at_home(copy)
    write(store, copy.run_id, "of the copy")
    write(store, store.create_run(store.make_experiment("other", description=""), name="new", tags={}), "new")
    assert (project.files(), project.dump()) == (files, database)
    assert project.read(project.open()) == "as it was"
    assert copy.read(copy.open()) == "of the copy"
    assert KEPT not in {path.name for path in project.files()}


def test_a_copy_of_a_copy_that_was_used(project: Project, tmp_path: Path) -> None:
    """What an earlier version made: locations below the original and below the first copy stand side by side."""
    first, second = project.at(tmp_path / "first"), project.at(tmp_path / "second")
    shutil.copytree(project.folder, first.folder)
    client = MlflowClient(first.uri)  # as that version opened it
    experiment = client.create_experiment("later", (first.folder / "mlruns" / "later").as_uri())
    (tmp_path / "log.txt").write_text("later")
    client.log_artifact(client.create_run(experiment).info.run_id, str(tmp_path / "log.txt"))
    shutil.copytree(first.folder, second.folder)
    second.open()
    assert_at_home(second)


def test_what_somebody_keeps_elsewhere_stays_there(project: Project, tmp_path: Path) -> None:
    disk = tmp_path / "disk" / "mlruns" / "large"
    elsewhere = ["s3://bucket/mlruns/2", disk.as_uri(), str(tmp_path / "disk" / "mlruns" / "empty")]
    client = MlflowClient(project.uri)
    for number, location in enumerate(elsewhere):
        client.create_experiment(f"elsewhere {number}", location)
    run = client.create_run(client.get_experiment_by_name("elsewhere 1").experiment_id)
    (tmp_path / "log.txt").write_text("log")
    client.log_artifact(run.info.run_id, str(tmp_path / "log.txt"))
    before = project.dump()
    project.open()
    assert project.dump() == before
    project.folder.rename(tmp_path / "moved")
    project.at(tmp_path / "moved").open()
    assert_at_home(project.at(tmp_path / "moved"), *elsewhere, run.info.artifact_uri)
    shutil.rmtree(tmp_path / "disk")  # not mounted today
    project.at(tmp_path / "moved").open()
    assert_at_home(project.at(tmp_path / "moved"), *elsewhere, run.info.artifact_uri)


def test_a_root_of_all_artifacts_that_somebody_chose_stays(tmp_path: Path, new_uri: Callable[[Path], str]) -> None:
    new_uri(tmp_path / "team")
    uri = sqlite_uri(tmp_path / "team" / "mlflow.db")
    with closing(sqlite3.connect(tmp_path / "team" / "mlflow.db")) as database, database:
        database.execute("update experiments set artifact_location = ?", (f"{tmp_path}/disk/mlruns/0",))
    client = MlflowClient(uri)
    run = client.create_run(client.create_experiment("of MLflow", f"{tmp_path}/disk/mlruns/1"))
    Store(uri)
    assert client.get_run(run.info.run_id).info.artifact_uri.startswith(f"{tmp_path}/disk/mlruns/1/")


def test_what_plain_mlflow_made_moves_along(project: Project, tmp_path: Path) -> None:
    """Plain paths, and folders named by the numbers of their experiments."""
    with closing(sqlite3.connect(project.folder / "mlflow.db")) as database, database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            database.execute(f"update {table} set {column} = replace({column}, 'file://', '')")
            database.execute(f"update {table} set {column} = replace({column}, 'mlruns/small', 'mlruns/1')")
    (project.folder / "mlruns" / "small").rename(project.folder / "mlruns" / "1")
    project.folder.rename(tmp_path / "moved")
    moved = project.at(tmp_path / "moved")
    store = moved.open()
    assert moved.read(store) == "as it was"
    assert_at_home(moved)


def test_a_database_without_its_artifacts_is_not_written_to(project: Project, tmp_path: Path, caplog) -> None:
    alone = project.at(tmp_path / "alone's")
    alone.folder.mkdir()
    for path in project.folder.glob("mlflow.db*"):
        shutil.copy(path, alone.folder)
    before = alone.dump()
    with pytest.raises(StoreError, match="came without its artifacts") as caught:
        alone.open()
    assert alone.dump() == before
    assert alone.read(alone.open(must_exist=True)) == "as it was"
    assert "came without its artifacts" in caplog.text
    command = caught.value.action.partition(" brings")[0]
    subprocess.run(command, shell=True, check=True)
    alone.open()
    assert_at_home(alone)


def test_a_copy_that_an_earlier_version_let_write_into_the_original_gets_all_of_it(
    project: Project, tmp_path: Path
) -> None:
    copy = project.at(tmp_path / "copy")
    shutil.copytree(project.folder, copy.folder)
    client = MlflowClient(copy.uri)
    run = client.create_run(client.get_experiment_by_name("small").experiment_id).info.run_id
    (tmp_path / "log.txt").write_text("of the copy")
    client.log_artifact(run, str(tmp_path / "log.txt"))
    before = copy.dump()
    with pytest.raises(StoreError, match="those of 1 run are in") as caught:
        copy.open()
    assert copy.open(must_exist=True).client.get_run(copy.run_id).info.artifact_uri.startswith(copy.folder.as_uri())
    assert copy.dump() == before
    subprocess.run(caught.value.action.partition(" brings")[0], shell=True, check=True)
    copy.open()
    assert_at_home(copy)


def test_a_store_reached_through_a_link_was_not_moved(project: Project, tmp_path: Path, caplog) -> None:
    (tmp_path / "link").symlink_to(project.folder)
    before = project.dump()
    for folder in (tmp_path / "link", project.folder, tmp_path / "link"):
        store = Store(f"sqlite:///{folder}/mlflow.db")
        assert project.read(store) == "as it was"
    project.folder.rename(tmp_path / "moved")
    project.folder.symlink_to(tmp_path / "moved")  # so that the old path leads there still
    Store(f"sqlite:///{project.folder}/mlflow.db")
    assert (project.dump(), caplog.messages) == (before, [])
    project.folder.unlink()
    project.at(tmp_path / "moved").open()
    assert_at_home(project.at(tmp_path / "moved"))


def test_artifacts_on_another_disk_behind_a_link_move_along(project: Project, tmp_path: Path) -> None:
    (project.folder / "mlruns").rename(tmp_path / "disk")
    (project.folder / "mlruns").symlink_to(tmp_path / "disk")
    before = project.dump()
    project.open()
    assert project.dump() == before
    project.folder.rename(tmp_path / "moved")
    moved = project.at(tmp_path / "moved")
    assert moved.read(moved.open()) == "as it was"
    assert_at_home(moved)


def test_nothing_is_said_of_a_store_without_a_run(tmp_path: Path, new_uri: Callable[[Path], str], caplog) -> None:
    uri = new_uri(tmp_path / "new")
    Store(uri)
    assert MlflowClient(uri).get_experiment("0").artifact_location == (tmp_path / "new" / "mlruns" / "0").as_uri()
    assert not (tmp_path / "new" / KEPT).exists()
    assert caplog.messages == []


@pytest.mark.parametrize("point", MOVED_FAIL_POINTS)
def test_killed_at_any_moment_the_next_start_does_it(
    project: Project, tmp_path: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.folder.rename(tmp_path / "moved")
    moved = project.at(tmp_path / "moved")
    monkeypatch.setenv(SETTING, point)
    process = multiprocessing.get_context("fork").Process(target=open_in_a_group_of_its_own, args=(moved,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert (moved.folder / KEPT).exists()
    monkeypatch.delenv(SETTING)
    assert moved.read(moved.open()) == "as it was"
    assert_at_home(moved)


def open_in_a_group_of_its_own(project: Project) -> None:
    os.setpgid(0, 0)
    project.open()


@pytest.mark.slow
def test_several_processes_may_find_it_moved_at_once(project: Project, tmp_path: Path) -> None:
    project.folder.rename(tmp_path / "moved")
    moved = project.at(tmp_path / "moved")
    started = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, how],
            cwd=moved.folder,
            env=clean_environment(tmp_path),
            stderr=subprocess.PIPE,
            text=True,
        )
        for how in ("read", "write", "write")
    ]
    said = "".join(process.communicate(timeout=120)[1] for process in started)
    assert [process.returncode for process in started] == [0, 0, 0], said
    assert said.count("the store in") == 1
    assert_at_home(moved)


def test_a_full_disk_is_told_before_anything_is_changed(project: Project, tmp_path: Path) -> None:
    project.folder.rename(tmp_path / "moved")
    moved = project.at(tmp_path / "moved")
    before = moved.dump()
    with files_of_at_most(200_000), pytest.raises(DiskError, match=KEPT):
        moved.open()
    assert moved.dump() == before
    assert not [path for path in moved.folder.iterdir() if "before-move" in path.name]
    with files_of_at_most(200_000_000):
        assert moved.read(moved.open()) == "as it was"


READ_ONLY = """
mount --bind $FOLDER $FOLDER
mount -o remount,bind,ro $FOLDER
cd $FOLDER
$PYTHON -c "$READ"
$PYTHON -c "$OPEN" write; echo "write $?"
"""


@pytest.mark.slow
def test_a_project_that_nobody_may_write_is_read_where_it_is(project: Project, tmp_path: Path) -> None:
    project.folder.rename(tmp_path / "moved")
    moved = project.at(tmp_path / "moved")
    before = moved.files(), moved.dump()
    read = (
        "from fashion_tuning.tracking.store import Store; from fashion_tuning.tracking.artifacts import artifacts\n"
        f"with artifacts(Store(must_exist=True), '{moved.run_id}', 'model/note.txt') as folder:\n"
        "    print(folder, *folder.rglob('*.txt'))"
    )
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    settings = {"FOLDER": str(moved.folder), "PYTHON": sys.executable, "OPEN": OPEN, "READ": read}
    if subprocess.run([*command, "mount -t tmpfs none /mnt"], check=False, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    told = subprocess.run(
        [*command, READ_ONLY], env=clean_environment(tmp_path, **settings), capture_output=True, text=True, check=False
    )
    assert f"{moved.folder}/mlruns/small/{moved.run_id}/artifacts/model/note.txt" in told.stdout, told.stderr
    assert "write 1" in told.stdout
    assert "DiskError" in told.stderr
    assert "for this command alone" in told.stderr
    assert (moved.files(), moved.dump()) == before


def test_every_column_that_holds_a_location_is_known(project: Project) -> None:
    """Columns that newer versions of MLflow add would be found here: nothing else in the database names the folder."""
    from fashion_tuning.tracking.location import _COLUMNS

    text = project.folder.as_uri()
    with closing(sqlite3.connect(project.folder / "mlflow.db")) as database:
        tables = [row[0] for row in database.execute("select name from sqlite_master where type = 'table'")]
        found = {
            (table, column)
            for table in tables
            for _, column, *_ in database.execute(f"pragma table_info({table})")
            if database.execute(f"select 1 from {table} where instr({column}, ?)", (text,)).fetchone()
        }
    assert found == set(_COLUMNS) - {("trace_tags", "value")}
    assert local_path(project.locations()["runs"][0]) is not None
