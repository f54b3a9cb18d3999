"""What the program knows of each backbone without building it, against what Keras builds; weights are random."""

import importlib
from pathlib import Path

import keras
import numpy as np
import pytest

from fashion_tuning.backbones import BACKBONES, NO_CUT, row_shape
from fashion_tuning.model.network import build_between, build_prefix, build_suffix
from fashion_tuning.model.weights import Weights, array_digest

SIZE = 75  # odd at every halving: 75, 38, 19, 10, 5 or 75, 37, 18, 9, 4
SMALL = "mobilenetv3_small"
# Keras's module with the preprocessing that goes with each; where it is part of the network, the module has none.
MODULES = {"xception": "xception", "resnet50v2": "resnet_v2", "densenet121": "densenet"}
each = pytest.mark.parametrize(
    "name", [name if name == SMALL else pytest.param(name, marks=pytest.mark.slow) for name in BACKBONES]
)


def build(name: str, **options: object) -> keras.Model:
    known = BACKBONES[name]
    application = getattr(keras.applications, known.application)
    options = {**known.options, **options}
    return application(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3), **options)


@each
def test_cuts_are_where_and_as_large_as_keras_has_them(name: str) -> None:
    base, known = build(name), BACKBONES[name]
    assert base.output.shape[-1:] == row_shape(name, NO_CUT, SIZE)
    for cut, place in known.cuts.items():
        start = base.get_layer(place.layer).input
        assert row_shape(name, cut, SIZE) == start.shape[1:], cut
        behind = keras.Model(start, base.output).layers
        normal, others = (
            sum(_size(layer) for layer in behind if isinstance(layer, keras.layers.BatchNormalization) == which)
            for which in (True, False)
        )
        assert (place.weights, place.normalization) == (others, normal), cut
    assert list(known.cuts) == sorted(known.cuts, key=lambda cut: known.cuts[cut].weights)


def _size(layer: keras.Layer) -> int:
    return sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backbones")


def random_weights(name: str, folder: Path) -> Weights:
    """Weights as they are stored, drawn at random; normalization has statistics of its own, so that it shows."""
    model = build(name)
    random = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(random.uniform(0.5, 1.5, layer.moving_variance.shape))
    path = folder / f"{name}.weights.h5"
    model.save_weights(path)
    return Weights(name, array_digest(model), path, "file")


@pytest.mark.slow
@each
def test_frozen_prefix_and_suffix_make_up_the_network(name: str, folder: Path) -> None:
    weights = random_weights(name, folder)
    images = np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    whole = build_prefix(weights, image_size=SIZE).predict_on_batch(images)
    scale = np.abs(whole).max()
    assert scale > 0
    cuts = list(BACKBONES[name].cuts)
    for cut in (cuts[0], cuts[-1]):
        maps = build_prefix(weights, image_size=SIZE, cut=cut).predict_on_batch(images)
        assert maps.shape == (2, *row_shape(name, cut, SIZE))
        between = build_between(weights, image_size=SIZE, start=cut, cut=NO_CUT)
        np.testing.assert_allclose(between.predict_on_batch(maps), whole, atol=1e-4 * scale)
        suffix = build_suffix(weights, image_size=SIZE, cut=cut)
        np.testing.assert_allclose(suffix.predict_on_batch(maps).mean((1, 2)), whole, atol=1e-4 * scale)
        suffix.save(folder / "suffix.keras")
        loaded = keras.saving.load_model(folder / "suffix.keras", safe_mode=True)
        np.testing.assert_array_equal(loaded.predict_on_batch(maps), suffix.predict_on_batch(maps))


@each
def test_pixels_are_scaled_as_keras_does(name: str, folder: Path) -> None:
    weights = random_weights(name, folder)
    images = np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    if name in MODULES:
        module = importlib.import_module(f"keras.applications.{MODULES[name]}")
        network, pixels = build(name), module.preprocess_input(images.astype(np.float32))
    else:
        network, pixels = build(name, include_preprocessing=True), images.astype(np.float32)
    network.set_weights([*_preprocessing(network), *_loaded(build(name), weights).get_weights()])
    expected = network.predict_on_batch(pixels).mean((1, 2))
    ours = build_prefix(weights, image_size=SIZE).predict_on_batch(images)
    np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())


def _preprocessing(network: keras.Model) -> list[np.ndarray]:
    """What a network's own scaling of pixels keeps among its weights."""
    layers = [layer for layer in network.layers if isinstance(layer, keras.layers.Normalization)]
    return [value for layer in layers for value in layer.get_weights()]


def _loaded(network: keras.Model, weights: Weights) -> keras.Model:
    network.load_weights(weights.path)
    return network
