import os
import time
from pathlib import Path

import numpy as np
import pytest
from small_features import make_key, write_features

from fashion_tuning.files import write_text
from fashion_tuning.locks import locked
from fashion_tuning.model import shards
from fashion_tuning.model.cache import CacheEntry, list_cache, prune_cache, verify_cache
from fashion_tuning.model.features import FeatureRef, lock_path

DAY = 86_400.0


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_SIZE", 4)


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    """A cache with weights, a photo, and the complete features of one key."""
    for path in ("weights/xception.weights.h5", "photos/garments/train/hat/1.jpg"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(b"0123456789")
    for hidden in ("weights/.lock", "photos/garments.lock"):
        (tmp_path / hidden).write_text("")
    add_features(tmp_path)
    return tmp_path


def add_features(cache_dir: Path, image_size: int = 71) -> FeatureRef:
    key = make_key(image_size=image_size)
    folder = cache_dir / "features" / key.digest
    folder.mkdir(parents=True)
    ref = write_features(folder, "train", np.ones((10, 3)), np.arange(10) % 2)
    write_features(folder, "validation", np.ones((5, 3)), np.arange(5) % 2)
    write_text(folder / "key.json", str(key.parts()).replace("'", '"'))
    return ref


def features_of(cache_dir: Path) -> CacheEntry:
    (entry,) = (entry for entry in list_cache(cache_dir) if entry.kind == "features" and entry.state != "set aside")
    return entry


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_empty_or_missing_cache_is_no_error(tmp_path: Path) -> None:
    assert list_cache(tmp_path / "none") == []
    assert verify_cache(tmp_path / "none") == []
    assert prune_cache(tmp_path / "none", unused_days=0) == []
    assert not (tmp_path / "none").exists()


def test_list_names_kinds_sizes_and_what_the_features_are_of(cache_dir: Path) -> None:
    entries = list_cache(cache_dir)
    assert [(entry.kind, entry.path.name) for entry in entries] == [
        ("features", make_key().digest),
        ("weights", "xception.weights.h5"),
        ("photos", "garments"),
    ]
    assert [entry.state for entry in entries] == ["complete"] * 3
    assert "xception 71 px, data 01234567" in entries[0].name
    assert entries[0].num_bytes == sum(path.stat().st_size for path in entries[0].path.iterdir())
    assert [entry.num_bytes for entry in entries[1:]] == [10, 10]
    assert entries[0].days_unused < 0.01
    assert entries[0].as_dict()["path"] == str(entries[0].path)


def test_sound_cache_has_no_problems_and_nothing_to_prune(cache_dir: Path) -> None:
    assert verify_cache(cache_dir) == []
    assert prune_cache(cache_dir) == []


def test_flipped_byte_is_found_by_verify_and_pruned(cache_dir: Path) -> None:
    path = features_of(cache_dir).path / "train.npy"
    flip(path)
    assert verify_cache(cache_dir) == [f"{path}: 1 of 3 shards are damaged"]
    assert [entry.state for entry in prune_cache(cache_dir)] == ["damaged"]
    assert not path.parent.exists()


@pytest.mark.parametrize("length", [0, 50, 140])
def test_file_cut_short_is_damaged_even_at_a_quick_look(cache_dir: Path, length: int) -> None:
    path = features_of(cache_dir).path / "validation.npy"
    os.truncate(path, length)
    assert features_of(cache_dir).state == "damaged"
    assert verify_cache(cache_dir) == [f"{path}: 2 of 2 shards are damaged"]


def test_features_that_were_never_finished(cache_dir: Path) -> None:
    folder = features_of(cache_dir).path
    (folder / "train.json").unlink()  # what a kill in the first shard leaves
    assert features_of(cache_dir).state == "unfinished"
    (problem,) = verify_cache(cache_dir)
    assert "train.npy" in problem
    assert "not computed yet" in problem
    assert [entry.state for entry in prune_cache(cache_dir)] == ["unfinished"]
    assert not folder.exists()


def test_key_without_any_array_is_unfinished(cache_dir: Path) -> None:
    folder = features_of(cache_dir).path
    for path in folder.glob("*.npy"):
        path.unlink()
    assert features_of(cache_dir).state == "unfinished"


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_features_of_an_unknown_key_are_damaged(cache_dir: Path, text: str) -> None:
    path = features_of(cache_dir).path / "key.json"
    path.write_text(text)
    assert features_of(cache_dir).state == "damaged"
    assert verify_cache(cache_dir) == [f"{path}: missing or unreadable"]


def test_remains_of_a_killed_write_are_not_taken_for_features(cache_dir: Path) -> None:
    (features_of(cache_dir).path / ".train-123.npy").write_bytes(b"half")
    assert verify_cache(cache_dir) == []


def test_prune_by_age_removes_the_unused_alone_and_never_weights_or_photos(cache_dir: Path) -> None:
    old = features_of(cache_dir).path
    before = time.time() - 10 * DAY
    for path in cache_dir.rglob("*"):
        os.utime(path, (before, before))
    used = add_features(cache_dir, image_size=150).folder
    assert features_days(cache_dir)[old.name] == pytest.approx(10, abs=0.01)
    verify_cache(cache_dir)  # looking is no use
    assert prune_cache(cache_dir, unused_days=11) == []
    removed = prune_cache(cache_dir, unused_days=9)
    assert [entry.path for entry in removed] == [old]
    assert used.is_dir()
    assert [entry.path for entry in prune_cache(cache_dir, unused_days=0)] == [used]
    assert [entry.kind for entry in list_cache(cache_dir)] == ["weights", "photos"]


def features_days(cache_dir: Path) -> dict[str, float]:
    return {entry.path.name: entry.days_unused for entry in list_cache(cache_dir) if entry.kind == "features"}


def test_what_was_set_aside_is_listed_apart_and_pruned(cache_dir: Path) -> None:
    folder = features_of(cache_dir).path
    num_bytes = features_of(cache_dir).num_bytes
    aside = (folder / "train.npy.shard-1.broken", cache_dir / "weights/xception.json.broken")
    for path in aside:
        path.write_bytes(b"damaged")
    photos = cache_dir / "photos/garments.broken-2"
    (photos / "train").mkdir(parents=True)
    (photos / "train/1.jpg").write_bytes(b"1")
    assert verify_cache(cache_dir) == []
    entry = features_of(cache_dir)
    assert (entry.state, entry.num_bytes) == ("complete", num_bytes)
    listed = [entry for entry in list_cache(cache_dir) if entry.state == "set aside"]
    assert [(entry.kind, entry.name, entry.num_bytes) for entry in listed] == [
        ("features", f"{folder.name}/train.npy.shard-1.broken", 7),
        ("weights", "xception.json.broken", 7),
        ("photos", "garments.broken-2", 1),
    ]
    assert [entry.path for entry in prune_cache(cache_dir)] == [entry.path for entry in listed]
    assert not any(path.exists() for path in (*aside, photos))
    assert prune_cache(cache_dir) == []


def test_features_being_computed_are_not_pruned(cache_dir: Path) -> None:
    folder = features_of(cache_dir).path
    (folder / "train.json").unlink()
    with locked(lock_path(folder)):
        assert prune_cache(cache_dir, unused_days=0) == []
    assert folder.is_dir()
    assert len(prune_cache(cache_dir)) == 1
