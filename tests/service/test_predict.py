"""`predict`, `evaluate` and `export` as commands, on a registry with a small model, or none."""

import io
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import PROGRAM, clean_environment
from PIL import Image
from small_card import make_card_text

from fashion_tuning.data.source import Dataset
from fashion_tuning.service.predict import photo_files

CARD = (
    "\n[[configurations]]".join(make_card_text().split("\n[[configurations]]")[:2])
    + """
[views]
number = 1
horizontal_flip = true
[final]
image_size = 80
epochs = 1
learning_rate_factors = []
"""
)


@pytest.fixture(scope="module")
def uri(make_champion: Callable[[str], str]) -> str:
    """A store with a champion."""
    return make_champion(CARD)


@pytest.fixture
def typed(uri: str, tmp_path: Path, feature_cache: Path) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """A function that types a command on that store."""

    def run(*words: str, given: bytes = b"", **settings: str) -> subprocess.CompletedProcess[bytes]:
        settings = {"MLFLOW_TRACKING_URI": uri, "FASHION_TUNING_CACHE": str(feature_cache), **settings}
        environment = clean_environment(tmp_path, **settings)
        return subprocess.run(
            [*PROGRAM, *words], cwd=tmp_path, env=environment, input=given, capture_output=True, timeout=200
        )

    return run


def photo() -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (30, 20, 3), np.uint8)).save(content, "PNG")
    return content.getvalue()


@pytest.mark.slow
def test_files_folders_and_standard_input_are_answered_and_bad_files_named(typed, tmp_path: Path) -> None:
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    (tmp_path / "photos" / "a.png").write_bytes(photo())
    (tmp_path / "photos" / "deep" / "b.png").write_bytes(photo())
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"no photo")
    done = typed("predict", "photos", "-", "gone.jpg", "--top", "2", "--json", given=photo())
    assert done.returncode == 1
    found = {one["path"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert list(found) == ["photos/a.png", "photos/bad.jpg", "photos/deep/b.png", "-", "gone.jpg"]
    assert found["photos/bad.jpg"]["problem"]
    assert "No such file" in found["gone.jpg"]["problem"]
    good = [found[name] for name in ("photos/a.png", "photos/deep/b.png", "-")]
    assert all(one["ranked"] == good[0]["ranked"] and len(one["ranked"]) == 2 for one in good)
    assert b"fashion-classifier version 1" in done.stderr


@pytest.mark.slow
def test_a_table_for_people_and_errors_apart(typed, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(photo())
    done = typed("predict", "a.png", "bad.jpg")
    assert done.returncode == 1
    assert done.stdout.decode().splitlines()[0].split() == ["file", "1.", "2.", "3.", "seconds"]
    assert b"bad.jpg: No such file" in done.stderr
    assert typed("predict", "a.png").returncode == 0


@pytest.mark.slow
def test_mistakes_have_their_exit_codes(typed, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.png").write_bytes(photo())
    for words, code, said in (
        (("predict", "empty"), 2, b"no photo in empty"),
        (("predict", "a.png", "--model", "other"), 2, b"no model other"),
        (("predict", "a.png", "--model", "fashion-classifier/7"), 2, b"fashion-classifier/7"),
        (("evaluate", "--split", "all"), 2, b"one of"),
        (("evaluate", "--data", "empty"), 3, b"photos are not in"),
        (("export", "--format", "pickle"), 2, b"saved_model"),
    ):
        done = typed(*words)
        assert (done.returncode, said in done.stderr) == (code, True), (words, done.stderr)
        assert b"Traceback" not in done.stderr


@pytest.mark.slow
def test_another_look_is_counted_and_shown(typed, small_dataset: Dataset) -> None:
    done = typed("evaluate", "--data", str(small_dataset.root), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["split"], found["look"]) == ("test", 2)
    done = typed("evaluate", "--split", "validation", "--data", str(small_dataset.root))
    assert done.returncode == 0, done.stderr
    assert b"(look 1 at these photos)" in done.stdout


@pytest.mark.slow
def test_averages_over_views_are_asked_for_and_named(typed, tmp_path: Path, small_dataset: Dataset) -> None:
    picture = Image.fromarray(np.random.default_rng(2).integers(0, 256, (80, 80, 3), np.uint8))
    picture.save(tmp_path / "a.png")
    picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "mirrored.png")

    def answers(*words: str) -> list[dict[str, float]]:
        done = typed("predict", "a.png", "mirrored.png", "--top", "10", "--json", *words)
        assert done.returncode == 0, done.stderr
        assert (b"mean of 2 views each" in done.stderr) == bool(words)
        lines = map(json.loads, done.stdout.splitlines())
        return [{row["category"]: row["probability"] for row in line["ranked"]} for line in lines]

    one, other = answers()
    averaged = answers("--average-views")
    for category in one:
        for found in averaged:
            assert found[category] == pytest.approx((one[category] + other[category]) / 2, abs=1e-6)
    done = typed("evaluate", "--split", "validation", "--average-views", "--data", str(small_dataset.root), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["views"] == 2


@pytest.mark.slow
def test_an_export_by_command(typed, tmp_path: Path, small_dataset: Dataset) -> None:
    done = typed("export", "--format", "saved_model", "--data", str(small_dataset.root), "--output", "exported")
    assert done.returncode == 0, done.stderr
    assert b"largest difference to Keras" in done.stdout
    assert (tmp_path / "exported").is_dir()


@pytest.mark.slow
def test_without_any_model_it_says_what_makes_one(typed, tmp_path: Path, new_uri: Callable[[Path], str]) -> None:
    (tmp_path / "a.png").write_bytes(photo())
    done = typed("predict", "a.png", MLFLOW_TRACKING_URI=new_uri(tmp_path / "none"))
    assert done.returncode == 2
    assert b"final-train makes one" in done.stderr


def test_folders_are_read_in_order_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg", ".hidden.jpg", ".git/c.jpg", "sub/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [path.relative_to(tmp_path).as_posix() for path in photo_files([tmp_path])[0]]
    assert names == ["a.jpg", "b.jpg", "sub/d.jpg"]
    assert photo_files([tmp_path / "gone.jpg"]) == ([tmp_path / "gone.jpg"], [])
    shutil.rmtree(tmp_path / "sub")
