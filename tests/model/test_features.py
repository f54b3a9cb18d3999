"""The cache of features: the real Xception on small photos, real processes, real damage."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from small_features import LABELS, draw_photos, make_key

from fashion_tuning.config import parse_card
from fashion_tuning.data.manifest import Manifest
from fashion_tuning.errors import DataError
from fashion_tuning.model import shards
from fashion_tuning.model.features import (
    FeatureProgress,
    FeatureRef,
    compute_features,
    feature_ref,
    load_features,
    verify_shards,
)
from fashion_tuning.model.key import FeatureKey, feature_key
from fashion_tuning.model.weights import Weights

SHARD_SIZE = 64  # two batches; the 144 photos to train on are shards of 64, 64 and 16

CARD = """
name = "features"
seed = 1
[images]
image_size = 71
[training]
epochs = 1
seeds = 1
[[configurations]]
learning_rate = 0.001
dense_units = 0
dropout = 0.0
"""

# Computes features in a process of its own and stops after each step until a line comes in.
CHILD = """
import pickle, sys
from fashion_tuning.model import shards
from fashion_tuning.model.features import compute_features
with open(sys.argv[1], "rb") as file:
    shards.SHARD_SIZE, ref, root, weights = pickle.load(file)
for progress in compute_features(ref, root=root, weights=weights):
    print("waiting" if progress.waiting else "working", progress.done, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_SIZE", SHARD_SIZE)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("photos")


@pytest.fixture(scope="module")
def manifest(root: Path) -> Manifest:
    """Photos of three splits; those of the test split are gone, so whoever reads them fails."""
    manifest = draw_photos(root, {"train": 144, "validation": 10, "test": 5})
    shutil.rmtree(root / "test")
    return manifest


@pytest.fixture(scope="module")
def key(manifest: Manifest, weights: Weights) -> FeatureKey:
    return feature_key(parse_card(CARD, name="features.toml"), manifest=manifest, weights=weights)


class Cache:
    """A cache folder with what is needed to fill it."""

    def __init__(self, folder: Path, root: Path, manifest: Manifest, key: FeatureKey, weights: Weights) -> None:
        self.folder = folder
        self.root = root
        self.key = key
        self.weights = weights
        self.manifest = manifest

    def ref(self, split: str = "train") -> FeatureRef:
        return feature_ref(self.key, split, manifest=self.manifest, cache_dir=self.folder)

    def compute(self, split: str = "train") -> Iterator[FeatureProgress]:
        return compute_features(self.ref(split), root=self.root, weights=self.weights)

    @contextmanager
    def child(self, path: Path) -> Iterator[subprocess.Popen[str]]:
        """A process that computes the train split, a step for each line that it gets."""
        path.write_bytes(pickle.dumps((SHARD_SIZE, self.ref(), self.root, self.weights)))
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def num_computed(steps: list[FeatureProgress]) -> int:
    """Images that went through the network while these steps were taken."""
    working = [step for step in steps if not step.waiting]
    assert working[-1].done == working[-1].total
    return working[-1].done - working[0].done


@pytest.fixture(scope="module")
def full(
    tmp_path_factory: pytest.TempPathFactory, root: Path, manifest: Manifest, key: FeatureKey, weights: Weights
) -> tuple[Cache, list[FeatureProgress]]:
    """A cache with the features of train and validation, and the steps in which train came about."""
    cache = Cache(tmp_path_factory.mktemp("cache"), root, manifest, key, weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_SIZE", SHARD_SIZE)
        steps = list(cache.compute())
        list(cache.compute("validation"))
    return cache, steps


@pytest.fixture
def cache(full: tuple[Cache, list[FeatureProgress]], tmp_path: Path) -> Cache:
    """A copy of the full cache, to be damaged."""
    whole, _ = full
    shutil.copytree(whole.folder, tmp_path / "cache")
    return Cache(tmp_path / "cache", whole.root, whole.manifest, whole.key, whole.weights)


@pytest.fixture
def empty(cache: Cache) -> Cache:
    shutil.rmtree(cache.folder)
    return cache


@pytest.fixture
def expected(full: tuple[Cache, list[FeatureProgress]]) -> np.ndarray:
    return np.array(load_features(full[0].ref()))


def test_features_are_computed_in_batches_and_kept_in_shards(full, expected: np.ndarray) -> None:
    cache, steps = full
    assert steps == [FeatureProgress("train", done, 144) for done in (0, 32, 64, 96, 128, 144)]
    assert expected.shape == (144, 2048)
    assert expected.dtype == np.float32
    assert (expected.std(axis=1) > 0.01).all()
    assert len(np.unique(expected, axis=0)) == 144  # every photo is another one
    folder = cache.ref().folder
    assert sorted(path.name for path in folder.iterdir()) == [
        "key.json",
        "train.json",
        "train.npy",
        "validation.json",
        "validation.npy",
    ]
    assert len(json.loads((folder / "train.json").read_text())["sha256"]) == 3
    assert json.loads((folder / "key.json").read_text()) == cache.key.parts()


def test_warm_call_computes_nothing_and_changes_no_features(cache: Cache) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in cache.ref().folder.glob("*.npy")}
    assert list(cache.compute()) == [FeatureProgress("train", 144, 144)]
    assert {path.name: path.stat().st_mtime_ns for path in cache.ref().folder.glob("*.npy")} == before


def test_rows_and_labels_are_in_manifest_order(cache: Cache) -> None:
    ref = cache.ref()
    assert [path for path, _, _ in ref.photos] == sorted(path for path, _, _ in ref.photos)
    assert {path.split("/")[0] for path, _, _ in ref.photos} == {"train"}
    assert ref.classes == LABELS
    np.testing.assert_array_equal(ref.labels(), [LABELS.index(path.split("/")[1]) for path, _, _ in ref.photos])
    assert ref.labels().dtype == np.int32


def cut_in_the_last_shard(ref: FeatureRef) -> None:
    os.truncate(ref.array.path, ref.array.path.stat().st_size - 4)


def flip_in_the_second_shard(ref: FeatureRef) -> None:
    with ref.array.path.open("r+b") as file:
        file.seek(-(16 * 2048 * 4 + 100), os.SEEK_END)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def test_damaged_shards_are_computed_anew_and_no_others(cache: Cache, expected: np.ndarray) -> None:
    flip_in_the_second_shard(cache.ref())
    assert verify_shards(cache.ref()) == [True, False, True]
    cut_in_the_last_shard(cache.ref())
    assert verify_shards(cache.ref()) == [True, False, False]
    with pytest.raises(DataError, match=r"train\.npy: 2 of 3 shards are missing or damaged"):
        load_features(cache.ref())
    steps = list(cache.compute())
    assert num_computed(steps) == 64 + 16
    path = cache.ref().array.path
    assert [line.split(",")[0] for line in steps[0].set_aside] == [
        f"features {path}: shard {shard} of 3 is damaged; its bytes are now {path.name}.shard-{shard}.broken"
        for shard in (1, 2)
    ]
    assert not any(step.set_aside for step in steps[1:])
    np.testing.assert_array_equal(load_features(cache.ref()), expected)


def test_without_a_record_everything_is_computed_anew(cache: Cache, expected: np.ndarray) -> None:
    cache.ref().array.record_path.write_text("")
    assert num_computed(list(cache.compute())) == 144
    np.testing.assert_array_equal(load_features(cache.ref()), expected)


def test_shards_of_another_size_are_not_taken_for_ours(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_SIZE", 32)
    assert verify_shards(cache.ref()) == [False] * 5
    with pytest.raises(DataError, match="5 of 5 shards"):
        load_features(cache.ref())


def test_damaged_key_file_is_mended_at_the_next_use(cache: Cache) -> None:
    path = cache.ref().folder / "key.json"
    path.write_text("")
    assert num_computed(list(cache.compute())) == 0
    assert json.loads(path.read_text()) == cache.key.parts()


def test_killed_process_loses_the_shard_in_hand_and_a_waiting_one_goes_on(
    empty: Cache, expected: np.ndarray, tmp_path: Path
) -> None:
    ours = empty.compute()
    with empty.child(tmp_path / "work") as child:
        assert read_line(child) == "working 0"
        assert next(ours) == FeatureProgress("train", 0, 144, waiting=True)
        for done in (32, 64, 96):
            go_on(child)
            assert read_line(child) == f"working {done}"
        child.send_signal(signal.SIGKILL)  # in the middle of the second shard
        assert child.wait() == -signal.SIGKILL
    assert verify_shards(empty.ref()) == [True, False, False]
    assert num_computed(list(ours)) == 144 - 64
    np.testing.assert_array_equal(load_features(empty.ref()), expected)


@pytest.mark.slow  # quick is the one above, where the other goes on
def test_of_two_processes_one_computes_and_the_other_waits_for_it(
    empty: Cache, expected: np.ndarray, tmp_path: Path
) -> None:
    steps = []
    with empty.child(tmp_path / "work") as child:
        for step in empty.compute():
            steps.append(step)
            if step.done == 96:
                go_on(child)
            if step.done in (0, 96):
                assert read_line(child) == f"waiting {step.done // SHARD_SIZE * SHARD_SIZE}"
        said = []
        while child.poll() is None and (not said or said[-1].startswith("waiting")):
            go_on(child)
            said.append(read_line(child))
        assert said[-1] == "working 144"  # it found everything there
        go_on(child)
        assert child.wait() == 0
    assert num_computed(steps) == 144
    np.testing.assert_array_equal(load_features(empty.ref()), expected)


def test_photo_that_changed_is_named_and_what_was_computed_stays(cache: Cache, tmp_path: Path) -> None:
    flip_in_the_second_shard(cache.ref())
    cut_in_the_last_shard(cache.ref())
    shutil.copytree(cache.root, tmp_path / "photos")
    cache.root = tmp_path / "photos"
    photo = cache.root / cache.ref().photos[-1][0]
    photo.write_bytes(photo.read_bytes() + b" ")
    with pytest.raises(DataError, match=r"is not the file that was verified any more") as caught:
        list(cache.compute())
    assert str(photo) in caught.value.received
    assert "run the command again" in caught.value.action
    assert verify_shards(cache.ref()) == [True, True, False]


def test_photo_that_is_gone_is_named(cache: Cache, tmp_path: Path) -> None:
    cut_in_the_last_shard(cache.ref())
    cache.root = tmp_path / "moved"
    with pytest.raises(DataError, match=r"can't be read any more \(No such file") as caught:
        list(cache.compute())
    assert str(cache.root / cache.ref().photos[128][0]) in caught.value.received


def test_test_split_is_never_touched(full) -> None:
    cache, _ = full
    assert not list(cache.folder.rglob("test*"))
    assert verify_shards(cache.ref("test")) == [False]  # asked for, it says that nothing is there


@pytest.mark.parametrize("field", [field.name for field in fields(FeatureKey)])
def test_every_part_of_the_key_decides_its_digest(field: str) -> None:
    key = make_key()
    value = getattr(key, field)
    other = replace(key, **{field: value + 1 if isinstance(value, int) else f"{value}x"})
    assert set(key.parts()) | {"storage", "device"} == {field.name for field in fields(FeatureKey)}
    assert other.digest != key.digest


def test_another_key_has_another_folder(manifest: Manifest, tmp_path: Path) -> None:
    keys = (make_key(), make_key(cut="avg_pool+max_pool"), make_key(cut="block14"), make_key(storage="float16"))
    assert len({feature_ref(key, "train", manifest=manifest, cache_dir=tmp_path).folder for key in keys}) == 4


def test_digest_of_features_that_were_made_before_stays() -> None:
    assert "storage" not in make_key().parts()


def test_key_follows_card_photos_and_weights(key: FeatureKey, manifest: Manifest, weights: Weights) -> None:
    card = parse_card(CARD, name="features.toml")
    larger = parse_card(CARD.replace("71", "150"), name="features.toml")
    smoother = parse_card(CARD.replace("71", '71\ninterpolation = "bicubic"'), name="features.toml")
    retrained = parse_card(CARD.replace("0.001", "0.01").replace("seed = 1", "seed = 2"), name="features.toml")
    assert feature_key(retrained, manifest=manifest, weights=weights) == key
    others = [
        feature_key(larger, manifest=manifest, weights=weights),
        feature_key(smoother, manifest=manifest, weights=weights),
        feature_key(card, manifest=Manifest(manifest.photos[1:]), weights=weights),
        feature_key(card, manifest=manifest, weights=replace(weights, digest="0" * 32)),
    ]
    assert len({one.digest for one in (key, *others)}) == 5
    assert others[0].image_size == 150
    assert key.engine == f"keras-{os.environ['KERAS_BACKEND']}"
    assert key.precision == "float32"
