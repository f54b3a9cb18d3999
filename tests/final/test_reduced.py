"""When a reduced mode may stand for the exact one."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fashion_tuning.errors import ParityError
from fashion_tuning.final.reduced import Agreement, compare, require_agreement
from fashion_tuning.model.features import FeatureRef
from fashion_tuning.model.key import FeatureKey, keras_engine

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

NUM_PHOTOS = 200
KEY = FeatureKey(
    manifest="m",
    image_size=71,
    interpolation="nearest",
    preprocessing="tf",
    backbone="xception",
    weights="w",
    cut="avg_pool",
    engine=keras_engine(),
)


def write(folder: Path, features: np.ndarray) -> FeatureRef:
    """Features of photos that are all of the first class."""
    photos = tuple((f"{number}.jpg", "", "hat") for number in range(len(features)))
    ref = FeatureRef(KEY, folder, "validation", photos, ("hat", "shoes"), features.shape[1:])
    ref.array.allocate()
    for shard in range(ref.array.num_shards):
        rows = ref.rows(shard)
        ref.array.write(shard, features[rows.start : rows.stop])
    return ref


@pytest.fixture
def head(tmp_path: Path) -> Path:
    """A head that hands its two features on."""
    import keras

    inputs = keras.Input((2,))
    layer = keras.layers.Dense(2, use_bias=False)
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.eye(2, dtype=np.float32)])
    model.save(tmp_path / "head.keras")
    return tmp_path / "head.keras"


def test_answers_that_change_are_counted(tmp_path: Path, head: Path) -> None:
    features = np.tile(np.array([[1, 0]], np.float32), (NUM_PHOTOS, 1))
    changed = features.copy()
    changed[:3] = 0, 1
    exact, reduced = write(tmp_path / "exact", features), write(tmp_path / "reduced", changed)
    agreement = compare([head, head], reduced=reduced, exact=exact)
    assert agreement == Agreement(same=0.985, difference=-3.0)
    assert compare([head], reduced=exact, exact=exact) == Agreement(1.0, 0.0)


@pytest.mark.parametrize("passes", [Agreement(1.0, 0.0), Agreement(0.99, -1.0), Agreement(0.995, 1.0)])
def test_a_mode_that_passes(passes: Agreement) -> None:
    require_agreement(passes, mode="openvino in bfloat16")


@pytest.mark.parametrize("change", [{"same": 0.989}, {"difference": 1.34}, {"difference": -1.34}])
def test_a_mode_that_does_not(change: dict[str, float]) -> None:
    with pytest.raises(ParityError, match="openvino in bfloat16") as caught:
        require_agreement(replace(Agreement(1.0, 0.0), **change), mode="openvino in bfloat16")
    assert "expected" in str(caught.value)
    assert "[model]" in str(caught.value)
