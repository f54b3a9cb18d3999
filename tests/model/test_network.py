from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fashion_tuning.backbones import AVERAGE_AND_MAXIMUM
from fashion_tuning.errors import WeightsError
from fashion_tuning.model.network import build_prefix
from fashion_tuning.model.weights import Weights

if TYPE_CHECKING:
    import keras

SIZE = 71


@pytest.fixture(scope="module")
def prefix(weights: Weights) -> "keras.Model":
    return build_prefix(weights, image_size=SIZE)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """A smooth colour ramp, noise, and a black image: uint8, (3, SIZE, SIZE, 3)."""
    ramp = np.linspace(0, 255, SIZE)
    smooth = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], ramp[::-1, None]), axis=-1)
    noise = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3))
    return np.stack([smooth, noise, np.zeros_like(noise)]).astype(np.uint8)


def test_features_are_finite_and_tell_images_apart(prefix: "keras.Model", images: np.ndarray) -> None:
    features = prefix.predict_on_batch(images)
    assert features.shape == (3, 2048)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert (features.std(axis=1) > 0.01).all()
    assert (features >= 0).all()  # behind a ReLU
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(features[first] - features[second]).max() > 0.1


def test_prefix_is_the_plain_keras_model_with_its_preprocessing(
    prefix: "keras.Model", weights: Weights, images: np.ndarray
) -> None:
    import keras

    plain = keras.applications.Xception(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    plain.load_weights(weights.path)
    pixels = keras.applications.xception.preprocess_input(images.astype(np.float32))
    expected = plain.predict_on_batch(pixels).mean(axis=(1, 2))
    np.testing.assert_allclose(prefix.predict_on_batch(images), expected, atol=1e-4)


def test_averages_stand_before_maxima(prefix: "keras.Model", weights: Weights, images: np.ndarray) -> None:
    import keras

    both = build_prefix(weights, image_size=SIZE, cut=AVERAGE_AND_MAXIMUM).predict_on_batch(images)
    assert both.shape == (3, 4096)
    plain = keras.applications.Xception(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    plain.load_weights(weights.path)
    maps = plain.predict_on_batch(keras.applications.xception.preprocess_input(images.astype(np.float32)))
    np.testing.assert_allclose(both[:, :2048], prefix.predict_on_batch(images), atol=1e-4)
    np.testing.assert_allclose(both[:, 2048:], maps.max(axis=(1, 2)), atol=1e-4)


def test_integers_and_floats_give_the_same_features(prefix: "keras.Model", images: np.ndarray) -> None:
    floats = prefix.predict_on_batch(images.astype(np.float32))
    np.testing.assert_array_equal(prefix.predict_on_batch(images), floats)


def test_nothing_is_trainable_and_training_mode_changes_nothing(prefix: "keras.Model", images: np.ndarray) -> None:
    assert prefix.trainable_weights == []
    assert len(prefix.get_layer("xception").weights) == 234
    inferred = np.asarray(prefix(images, training=False))
    np.testing.assert_allclose(np.asarray(prefix(images, training=True)), inferred, atol=1e-5)


def test_file_that_is_no_weights_is_named(weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "xception.weights.h5"
    path.write_bytes(b"no HDF5")
    with pytest.raises(WeightsError, match=str(path)):
        build_prefix(replace(weights, path=path), image_size=SIZE)
