"""What people have labelled joins train, and leaves validation and test as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import run
from serving import garment

from fashion_tuning.data.drawn import draw_dataset
from fashion_tuning.data.source import open_dataset
from fashion_tuning.errors import DataError


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    draw_dataset(folder, per_class={"train": 2, "validation": 1, "test": 1})
    return folder


@pytest.fixture
def chosen(tmp_path: Path) -> Path:
    folder = tmp_path / "chosen"
    for label, index in (("hat", 0), ("hat", 1), ("shoes", 0)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / f"{index}.jpg").write_bytes(garment(label, index))
    return folder


def test_labelled_photos_join_train_alone(base: Path, chosen: Path, tmp_path: Path) -> None:
    before = open_dataset(base, cache_dir=tmp_path / "cache").manifest
    joined = open_dataset(base, joining=[chosen], cache_dir=tmp_path / "cache")
    counts, plain = joined.manifest.counts(), before.counts()
    assert counts["train"] == {**plain["train"], "hat": 4, "shoes": 3}
    assert (counts["validation"], counts["test"]) == (plain["validation"], plain["test"])
    for split in ("validation", "test"):
        assert {one.sha256 for one in joined.manifest.select(split)} == {one.sha256 for one in before.select(split)}
    assert all(joined.path(photo).read_bytes() for photo in joined.manifest.photos)
    again = open_dataset(base, joining=[chosen], cache_dir=tmp_path / "cache")
    assert (again.root, again.manifest) == (joined.root, joined.manifest)
    (chosen / "hat" / "2.jpg").write_bytes(garment("hat", 2))
    more = open_dataset(base, joining=[chosen], cache_dir=tmp_path / "cache")
    assert more.manifest.digest != joined.manifest.digest
    assert more.manifest.counts()["train"]["hat"] == 5


def test_a_photo_that_is_validated_on_never_joins_train(base: Path, chosen: Path, tmp_path: Path) -> None:
    before = open_dataset(base, cache_dir=tmp_path / "cache")
    (held_out,) = [one for one in before.manifest.select("validation") if one.label == "hat"]
    (chosen / "hat" / "known.jpg").write_bytes(before.path(held_out).read_bytes())
    joined = open_dataset(base, joining=[chosen], cache_dir=tmp_path / "cache")
    assert held_out.sha256 not in {one.sha256 for one in joined.manifest.select("train")}


def test_a_layout_by_classes_keeps_its_split(chosen: Path, tmp_path: Path) -> None:
    folder = tmp_path / "classes"
    for label in ("hat", "shoes"):
        (folder / label).mkdir(parents=True)
        for index in range(10, 20):
            (folder / label / f"{index}.jpg").write_bytes(garment(label, index))
    before = open_dataset(folder, cache_dir=tmp_path / "cache").manifest
    joined = open_dataset(folder, joining=[chosen], cache_dir=tmp_path / "cache").manifest
    for split in ("validation", "test"):
        assert {one.sha256 for one in joined.select(split)} == {one.sha256 for one in before.select(split)}
    assert len(joined.select("train")) == len(before.select("train")) + 3


def test_mistakes(base: Path, chosen: Path, tmp_path: Path) -> None:
    (chosen / "socks").mkdir()
    with pytest.raises(DataError, match="'socks'"):
        open_dataset(base, joining=[chosen], cache_dir=tmp_path / "cache")
    with pytest.raises(DataError, match="no folder"):
        open_dataset(base, joining=[tmp_path / "gone"], cache_dir=tmp_path / "cache")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no sub-folder"):
        open_dataset(base, joining=[tmp_path / "empty"], cache_dir=tmp_path / "cache")


def test_by_command(base: Path, chosen: Path, tmp_path: Path) -> None:
    done = run("data", "--data", str(base), "--data", str(chosen), "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["train"]["hat"] == 4
