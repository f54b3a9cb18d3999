"""Splits and classes by the names of folders: which are one class, and what a wrong layout is told to type."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest
from command_line import run
from hypothesis import given
from hypothesis import strategies as st
from photo_folders import class_folders, photo, split_folders

from fashion_tuning.data.labels import code_points, composed, labels_of, lookalikes
from fashion_tuning.data.layout import read_layout
from fashion_tuning.data.source import open_dataset
from fashion_tuning.errors import DataError

NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def respelled(root: Path, *, splits: tuple[str, ...]) -> Path:
    for split in splits:
        (root / split / NFC).rename(root / split / NFD)
    return root


def refusal(root: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        read_layout(root)
    return caught.value


@pytest.mark.parametrize("splits", [("train",), ("validation",), ("validation", "test")])
def test_a_class_is_one_in_both_normal_forms(tmp_path: Path, splits: tuple[str, ...]) -> None:
    root = respelled(split_folders(tmp_path / "photos", labels=(NFC, "hat")), splits=splits)
    dataset = open_dataset(root, cache_dir=tmp_path / "cache")
    assert dataset.manifest.classes == (NFC, "hat")
    assert dataset.manifest.counts()["train"] == {NFC: 1, "hat": 1}
    assert all(dataset.path(photo).is_file() for photo in dataset.manifest.photos)


def test_a_data_set_that_is_written_one_way_keeps_its_digest(tmp_path: Path) -> None:
    root = respelled(split_folders(tmp_path / "photos", labels=(NFC, "hat")), splits=("train", "validation", "test"))
    manifest = open_dataset(root, cache_dir=tmp_path / "cache").manifest
    assert manifest.classes == (NFD, "hat")
    assert manifest.digest == "da634370dea6ae6d9424d3db7debdad6"  # as recorded before names were compared in NFC


def test_a_labelled_folder_joins_in_either_form(tmp_path: Path) -> None:
    root = split_folders(tmp_path / "photos", labels=(NFC, "hat"))
    class_folders(tmp_path / "chosen", labels=(NFD,), each=2, first=900)
    joined = open_dataset(root, joining=[tmp_path / "chosen"], cache_dir=tmp_path / "cache").manifest
    assert joined.counts()["train"] == {NFC: 3, "hat": 1}
    respelled(root, splits=("train", "validation"))
    joined = open_dataset(root, joining=[tmp_path / "chosen"], cache_dir=tmp_path / "cache").manifest
    assert joined.counts() == {
        "train": {NFC: 3, "hat": 1},
        "validation": {NFC: 2, "hat": 2},
        "test": {NFC: 3, "hat": 3},
    }


@pytest.mark.parametrize("split", ["", "validation"])
def test_two_folders_of_one_class_are_told_with_their_code_points(tmp_path: Path, split: str) -> None:
    root = tmp_path / "photos"
    if split:
        split_folders(root)
    class_folders(root / split, labels=(NFC, NFD, "hat"), first=70_000)
    error = refusal(root)
    assert str(root / split) in error.received
    assert "(caf U+00E9)" in error.received
    assert "(cafe U+0301)" in error.received


@pytest.mark.parametrize(
    ("other", "shown"),
    [
        ("Hat", "'hat'"),
        ("hat ", "'hat '"),
        ("h\u0430t", "(h U+0430 t)"),
        ("\uff48\uff41\uff54", "(U+FF48 U+FF41 U+FF54)"),
        ("hat\u200b", "(hat U+200B)"),
    ],
)
def test_names_that_look_like_one_are_named_together(tmp_path: Path, other: str, shown: str) -> None:
    root = split_folders(tmp_path / "photos")
    (root / "train" / "hat").rename(root / "train" / other)
    done = run("data", "--data", str(root), folder=tmp_path)
    assert done.returncode == 3
    assert "which stands in" in done.stderr
    assert shown in done.stderr
    assert "give the folders of one class one name" in done.stderr


def test_a_labelled_folder_with_a_name_like_a_class_is_told_so(tmp_path: Path) -> None:
    root = split_folders(tmp_path / "photos")
    class_folders(tmp_path / "chosen", labels=("Hat",))
    with pytest.raises(DataError, match="has a class 'Hat', the data set 'hat'"):
        open_dataset(root, joining=[tmp_path / "chosen"], cache_dir=tmp_path / "cache")


@given(st.lists(st.text("aeé\u0301ñn\u0303가\u1100\u1161", min_size=1, max_size=3), min_size=1, max_size=6))
def test_labels_are_one_for_one_name_and_never_for_two(names: list[str]) -> None:
    splits = {"train": [], "validation": [], "test": []}  # type: dict[str, list[str]]
    for number, name in enumerate(names):
        here = splits[list(splits)[number % 3]]
        if composed(name) not in map(composed, here):
            here.append(name)
    labels = labels_of(Path(), splits)
    assert {composed(label) for label in labels.values()} == {composed(name) for name in labels}
    for name, label in labels.items():
        assert composed(name) == composed(label)
        for other in labels:
            assert (labels[other] == label) == (composed(name) == composed(other))


def test_code_points() -> None:
    assert code_points("t-shirt") == "t-shirt"
    assert code_points("a b") == "a U+0020 b"
    assert lookalikes("dress", ["dress", "hat", "Dress", "dres"]) == ["Dress"]
    assert lookalikes("юбка", ["туфли", "шляпа", "брюк"]) == []


@pytest.mark.parametrize("layout", [class_folders, split_folders])
@pytest.mark.parametrize("wrapping", ["garments", "a b/garments"])
def test_a_wrapped_folder_is_answered_with_the_inner_one(tmp_path: Path, layout, wrapping: str) -> None:
    inner = layout(tmp_path / "data" / wrapping)
    (tmp_path / "data" / "README.md").touch()
    error = refusal(tmp_path / "data")
    assert error.action == f"name the inner folder: --data {shlex.quote(str(inner))}"
    typed = shlex.split(error.action.partition(": ")[2])
    assert read_layout(Path(typed[1])).candidates


def test_one_class_with_photos_is_no_wrapping(tmp_path: Path) -> None:
    class_folders(tmp_path / "data", labels=("hat",))
    photo(tmp_path / "data" / "hat" / "more" / "1.png", seed=99)
    with pytest.raises(DataError, match="one class only"):
        open_dataset(tmp_path / "data", cache_dir=tmp_path / "cache")


@pytest.mark.parametrize(
    "names",
    [
        {"validation": "val"},
        {"validation": "valid", "train": "training"},
        {"validation": "dev", "test": "testing"},
        {"train": "Train", "validation": "Validation", "test": "Test"},
        {"validation": "eval set"},
    ],
)
def test_splits_of_another_name_are_answered_with_their_renaming(tmp_path: Path, names: dict[str, str]) -> None:
    root = split_folders(tmp_path / "my photos")
    for split, name in names.items():
        (root / split).rename(root / name)
    error = refusal(root)
    for split in names:
        assert f"{split}/" in error.received.partition(" but no ")[2]
    if "eval set" in names.values():  # nobody can know
        assert "put photos that no other split has into validation/" in error.action
        return
    for name in names.values():
        assert f"{name}/" in error.received.partition(" but no ")[0]
    subprocess.run(error.action.replace("; ", " && "), shell=True, check=True)
    assert len(read_layout(root).candidates) == 12


def test_a_missing_split_is_told(tmp_path: Path) -> None:
    root = split_folders(tmp_path / "photos")
    shutil.rmtree(root / "test")
    error = refusal(root)
    assert error.received.endswith("holds train/, validation/ but no test/")
    assert "put photos that no other split has into test/" in error.action
    assert "80/10/10" in error.action


def test_a_class_may_be_called_like_a_split_may(tmp_path: Path) -> None:
    assert read_layout(class_folders(tmp_path / "photos", labels=("dev", "holdout"))).candidates


def test_a_link_to_itself_is_told(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for joining in ([], [tmp_path / "loop"]):
        root = split_folders(tmp_path / "photos") if joining else tmp_path / "loop"
        with pytest.raises(DataError, match="loop"):
            open_dataset(root, joining=joining, cache_dir=tmp_path / "cache")


def test_what_lies_beside_splits_and_classes_is_told(tmp_path: Path) -> None:
    root = split_folders(tmp_path / "photos")
    photo(root / "val" / "hat" / "0.png", seed=1)
    photo(root / "loose.png", seed=2)
    photo(root / "train" / "loose.png", seed=3)
    layout = read_layout(root)
    assert len(layout.candidates) == 12
    assert [entry.path for entry in layout.left_out] == ["val/", "loose.png", "train/loose.png"]
