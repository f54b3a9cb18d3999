"""Paths of any name: turned into URIs and back, with stores made there, and expanded in one way wherever they stand."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from command_line import commands, run
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.utils.file_utils import local_file_uri_to_path
from sqlalchemy.engine import make_url

from fashion_tuning import options
from fashion_tuning.errors import StoreError, UsageError
from fashion_tuning.paths import expand, file_uri, local_path, make_legible, sqlite_uri
from fashion_tuning.tracking.artifacts import artifacts
from fashion_tuning.tracking.store import Store, resolve_uri

NASTY = (
    "per%20cent", "100%", "quest?ion", "ha#sh", "a;b&c=d", "it's \"quoted\"", "br[ack]et{s}(s)", " spaces ", "-dash",
    "x" * 200, "a:b@c", "plus+plus", "back\\slash", "tab\tnew\nline", "e\u0301\u00e9日本", "~", "$HOME", "mlflow.db",
    "sqlite:", "file:", "%2F", "?mode=ro",
)  # fmt: skip
LATIN = os.fsdecode(b"lat\xe9")

names = st.binary(min_size=1, max_size=60).filter(lambda name: not set(name) & set(b"\0/")).map(os.fsdecode) | st.text(
    st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=60
)
names = names.filter(lambda name: name not in (".", ".."))


def with_examples(test: Callable[..., None]) -> Callable[..., None]:
    for name in (*NASTY, LATIN):
        test = example(name, "mlflow.db")(test)
    return test


@with_examples
@given(names, names)
def test_a_path_becomes_a_uri_and_comes_back(folder: str, name: str) -> None:
    path = Path("/") / folder / name
    for uri in (file_uri(path), sqlite_uri(path)):
        assert local_path(uri) == path
        if uri.startswith("file:"):
            uri.encode("ascii")


@pytest.mark.parametrize(
    "uri",
    ["mlflow-artifacts:/1/ab/artifacts", "mlflow-artifacts://host/1", "s3://bucket/x", "runs:/1/model", "dbfs:/x"],
)
def test_a_place_that_is_no_path_of_this_machine_is_none(uri: str) -> None:
    assert local_path(uri) is None


@pytest.mark.parametrize("path", ["/a:b/c", "./mlruns/0", "mlruns/0", "/mlflow-artifacts:/1"])
def test_a_plain_path_is_itself(path: str) -> None:
    assert local_path(path) == Path(path)


@with_examples
@given(names, names)
def test_the_libraries_read_a_uri_as_it_is_meant(folder: str, name: str) -> None:
    path = Path("/") / folder / name
    assert make_url(sqlite_uri(path)).database == str(path)
    assert urlsplit(sqlite_uri(path)).scheme in ("sqlite", "sqlite+pysqlite")
    if make_legible(path) == str(path):
        assert local_file_uri_to_path(file_uri(path)) == str(path)


@with_examples
@given(names, names)
def test_a_uri_stays_itself_however_often_it_is_read(folder: str, name: str) -> None:
    path = Path("/nowhere") / folder / name
    uri = sqlite_uri(path)
    assert resolve_uri(uri) == uri
    assert resolve_uri(resolve_uri(uri)) == uri


@given(names)
def test_what_is_made_legible_is_recordable_and_stays(name: str) -> None:
    legible = make_legible(name)
    legible.encode()
    assert make_legible(legible) == legible


@pytest.mark.parametrize("uri", ["s3://bucket/a", "http://host:5000", "postgresql://host/base", "mlflow-artifacts:/1"])
def test_a_uri_of_something_else_is_no_path(uri: str) -> None:
    path = local_path(uri)
    assert path is None or not path.is_absolute()


@pytest.mark.parametrize("name", NASTY, ids=ascii)
def test_a_store_lies_where_it_is_named(
    tmp_path: Path, new_uri: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / name
    new_uri(folder)
    monkeypatch.chdir(folder)
    store = Store()
    run_id = store.create_run(store.make_experiment("small", description=""), name="run", tags={})
    (tmp_path / "note").write_text("here")
    store.upload(run_id, tmp_path / "note", "inside")
    with artifacts(store, run_id, "inside/note") as folder_of_run:
        assert folder_of_run == folder / "mlruns" / "small" / run_id / "artifacts"
        assert (folder_of_run / "inside" / "note").read_text() == "here"
    again = Store(store.uri, must_exist=True)
    assert again.get_run(run_id) is not None
    assert [entry.path for entry in again.client.list_artifacts(run_id, "inside")] == ["inside/note"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({name, "note"})


def test_a_new_store_in_such_a_folder_is_made_there_and_nowhere_else(tmp_path: Path) -> None:
    folder = tmp_path / "100%20?#"
    folder.mkdir()
    Store(sqlite_uri(folder / "mlflow.db"))
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        (location,) = database.execute("select artifact_location from experiments").fetchone()
    assert local_path(location) == folder / "mlruns" / "0"
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert {path.name.rpartition("-")[0] or path.name for path in folder.iterdir()} <= {"mlflow.db", ".mlflow.db.lock"}


def test_a_folder_that_is_no_text_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / LATIN
    folder.mkdir()
    monkeypatch.chdir(folder)
    for must_exist in (False, True):
        with pytest.raises(StoreError, match="not UTF-8") as caught:
            Store(must_exist=must_exist)
        str(caught.value).encode()
    assert list(folder.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == [LATIN]


def test_options_of_a_database_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has options") as caught:
        Store(f"sqlite:///{tmp_path}/mlflow.db?timeout=5")
    assert "%3F" in caught.value.action
    assert list(tmp_path.iterdir()) == []


def test_a_home_folder_is_expanded_wherever_a_path_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for setting in ("FASHION_TUNING_CACHE", "FASHION_TUNING_DATA"):
        monkeypatch.setenv(setting, "~/x")
    assert options.cache_folder() == options.environment_folder() == tmp_path / "x"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///~/x/mlflow.db")
    assert resolve_uri(None) == f"sqlite:///{tmp_path}/x/mlflow.db"
    assert expand("~no such user~/x") == Path("~no such user~/x")
    assert expand("./~") == Path("~")
    assert options.expand_paths([Path("~"), Path("-")]) == [tmp_path, Path("-")]
    assert options.expand_paths(None) is None


def test_every_path_on_the_command_line_is_expanded() -> None:
    parameters = []
    for name, command in commands().items():
        for parameter in command.params:
            if "Path" in str(parameter.type_descriptor.annotation):
                parameters.append((name, parameter.name))
                assert parameter.callback is not None, parameters[-1]
    assert ("predict", "files") in parameters
    assert ("feedback export", "folder") in parameters
    assert len(parameters) >= 14


def test_typed_and_set_paths_lead_to_the_home_folder(tmp_path: Path) -> None:
    """The whole program: nothing is made in a folder that is called ~."""
    (tmp_path / "home" / "photos").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    told = run("cache", "list", folder=tmp_path / "work", HOME=str(tmp_path / "home"), FASHION_TUNING_CACHE="~/x")
    assert str(tmp_path / "home" / "x") in told.stdout
    told = run("data", "--data=~/photos", folder=tmp_path / "work", HOME=str(tmp_path / "home"))
    assert told.returncode == 3
    assert str(tmp_path / "home" / "photos") in told.stderr
    assert not (tmp_path / "work" / "~").exists()
    assert json.dumps(sorted(path.name for path in (tmp_path / "work").iterdir())) in ("[]", '["cache"]')
