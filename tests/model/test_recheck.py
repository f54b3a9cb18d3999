"""What the cache holds, held to the photos: features that are not what their key promises are found."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import run
from small_features import draw_photos, make_key

from fashion_tuning.data.manifest import Manifest
from fashion_tuning.model.cache import verify_cache
from fashion_tuning.model.features import FeatureRef, compute_features, feature_ref
from fashion_tuning.model.recheck import WITHIN, recheck
from fashion_tuning.model.weights import Weights


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    root = tmp_path_factory.mktemp("photos")
    return root, draw_photos(root, {"train": 40, "validation": 3, "test": 3})


@pytest.fixture(scope="module")
def filled(
    photos: tuple[Path, Manifest], weights: Weights, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, FeatureRef]:
    """A cache with the features of train and validation, in float32 and as float16 is kept, and the former's train."""
    folder, (root, manifest) = tmp_path_factory.mktemp("cache"), photos
    for storage in ("float16", "float32"):
        key = make_key(manifest=manifest.digest, weights=weights.digest, storage=storage)
        for split in ("validation", "train"):
            ref = feature_ref(key, split, manifest=manifest, cache_dir=folder)
            for _ in compute_features(ref, root=root, weights=weights):
                pass
    return folder, ref


def poison(ref: FeatureRef) -> None:
    """What a version that let floatx = float16 through has left under the key of float32."""
    rounded = np.array(ref.array.load()).astype(np.float16).astype(np.float32)
    ref.array.write(0, rounded)


def rechecked(folder: Path, photos: tuple[Path, Manifest], weights: Weights) -> Iterator[tuple[str, int, bool]]:
    root, manifest = photos
    for result in recheck(folder, root, manifest, weights_of=lambda _: weights):
        yield f"{result.path.parent.name}/{result.path.name}", result.num_photos, result.agrees


def test_features_under_a_key_that_they_do_not_fit_are_found(
    filled: tuple[Path, FeatureRef], photos: tuple[Path, Manifest], weights: Weights, tmp_path: Path
) -> None:
    folder, ref = filled
    expected = {(f"{one.name}/{name}", number) for one in (folder / "features").iterdir() if one.is_dir()
                for name, number in (("train.npy", 32), ("validation.npy", 3))}  # fmt: skip
    assert set(rechecked(folder, photos, weights)) == {(*one, True) for one in expected}
    copy = tmp_path / "cache"
    shutil.copytree(folder, copy)
    poison(feature_ref(ref.key, "train", manifest=photos[1], cache_dir=copy))
    assert verify_cache(copy) == []  # it is as it was written
    wrong = [name for name, _, agrees in rechecked(copy, photos, weights) if not agrees]
    assert wrong == [f"{ref.key.digest}/train.npy"]


def test_what_can_not_be_computed_here_is_passed_over(
    filled: tuple[Path, FeatureRef], photos: tuple[Path, Manifest], weights: Weights, tmp_path: Path
) -> None:
    root, manifest = photos
    folder, ref = filled
    other = Manifest(manifest.photos[1:])
    assert list(recheck(folder, root, other, weights_of=lambda _: weights)) == []
    shutil.copytree(folder, tmp_path / "cache")
    for path in (tmp_path / "cache" / "features").glob("*/key.json"):
        path.write_text("{}")
    assert list(rechecked(tmp_path / "cache", photos, weights)) == []
    shutil.copytree(folder, tmp_path / "damaged")
    for path in (tmp_path / "damaged" / "features").glob("*/*.npy"):
        path.write_bytes(b"")
    assert list(rechecked(tmp_path / "damaged", photos, weights)) == []
    assert WITHIN < 2e-4
    assert ref.key.precision == "float32"


@pytest.mark.slow  # quick are the comparisons above
def test_the_command_names_what_has_to_go(
    filled: tuple[Path, FeatureRef], photos: tuple[Path, Manifest], weights: Weights, tmp_path: Path
) -> None:
    folder, ref = filled
    shutil.copytree(folder, tmp_path / "cache")
    shutil.copytree(weights.path.parent, tmp_path / "cache" / "weights")
    done = run("cache", "verify", "--data", str(photos[0]), folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(": as computed anew from") == 4
    poison(feature_ref(ref.key, "train", manifest=photos[1], cache_dir=tmp_path / "cache"))
    done = run("cache", "verify", "--data", str(photos[0]), folder=tmp_path)
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if ": NOT as computed anew from 32 photos, within" in line]
    assert f"{ref.key.digest}/train.npy" in line
    assert done.stdout.splitlines()[-1].startswith("remove the folder of what is NOT as computed anew")
    shutil.rmtree(tmp_path / "cache" / "features")
    done = run("cache", "verify", "--data", str(photos[0]), folder=tmp_path)
    assert done.returncode == 2
    assert "fashion-tuning cache list names" in done.stderr
