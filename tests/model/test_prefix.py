"""Engines and precisions of the frozen prefix, each against Keras in float32 with the real weights."""

import numpy as np
import pytest

from fashion_tuning.errors import UsageError
from fashion_tuning.model.key import keras_engine
from fashion_tuning.model.prefix import load_prefix
from fashion_tuning.model.weights import Weights

SIZE = 80

by_openvino = pytest.mark.skipif(
    keras_engine() != "keras-tensorflow", reason="Keras writes models for OpenVINO on TensorFlow alone"
)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Blurred noise, (8, SIZE, SIZE, 3) uint8."""
    coarse = np.random.default_rng(3).integers(0, 256, (8, 10, 10, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


@pytest.fixture(scope="module")
def exact(weights: Weights, pixels: np.ndarray) -> np.ndarray:
    return load_prefix(weights, image_size=SIZE, engine=keras_engine(), precision="float32")(pixels)


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first * second).sum(-1) / np.linalg.norm(first, axis=-1) / np.linalg.norm(second, axis=-1)


@pytest.mark.slow
@by_openvino
def test_openvino_in_float32_gives_keras_features(weights: Weights, pixels: np.ndarray, exact: np.ndarray) -> None:
    features = load_prefix(weights, image_size=SIZE, engine="openvino", precision="float32")(pixels)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, exact, atol=1e-4)


def test_bfloat16_is_near_and_pooled_in_float32(weights: Weights, pixels: np.ndarray, exact: np.ndarray) -> None:
    import keras

    features = load_prefix(weights, image_size=SIZE, engine=keras_engine(), precision="bfloat16")(pixels)
    assert features.dtype == np.float32
    assert 0.99 < cosines(features, exact).min() < 1.0
    assert (features.view(np.uint32) & 0xFFFF).any()  # values that bfloat16 can't hold
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.slow
@by_openvino
def test_openvino_in_bfloat16_computes_in_it_or_says_that_it_can_not(
    weights: Weights, pixels: np.ndarray, exact: np.ndarray
) -> None:
    import openvino

    able = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if able:
        features = load_prefix(weights, image_size=SIZE, engine="openvino", precision="bfloat16")(pixels)
        assert 0.99 < cosines(features, exact).min() < 1.0
    else:
        with pytest.raises(UsageError, match="this processor computes in f32"):
            load_prefix(weights, image_size=SIZE, engine="openvino", precision="bfloat16")


@pytest.mark.parametrize("engine", ["keras-tensorflow", "keras-torch", "openvino"])
def test_features_are_never_computed_by_another_backend_than_their_key_says(weights: Weights, engine: str) -> None:
    if engine == keras_engine() or (engine, keras_engine()) == ("openvino", "keras-tensorflow"):
        pytest.skip("the one that Keras has here")
    with pytest.raises(UsageError, match=f"KERAS_BACKEND={engine.removeprefix('keras-')}|KERAS_BACKEND=tensorflow"):
        load_prefix(weights, image_size=SIZE, engine=engine, precision="float32")
