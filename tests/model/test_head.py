from pathlib import Path

import keras
import numpy as np
import pytest

from fashion_tuning.hyperparameters import Value
from fashion_tuning.model.head import build_head, count_parameters

SIZE, CLASSES = 12, 5


def head(values: dict[str, Value] | None = None, *, study_seed: int = 1, seed: int = 1) -> keras.Model:
    values = values or {"dense_units": 8, "dropout": 0.5}
    return build_head(values, feature_size=SIZE, num_classes=CLASSES, study_seed=study_seed, seed=seed)


def arrays(model: keras.Model) -> list[np.ndarray]:
    return [np.asarray(variable) for variable in model.trainable_variables]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"dense_units": 0, "dropout": 0.0}, ["logits"]),
        ({"dense_units": 0, "dropout": 0.3}, ["dropout", "logits"]),
        ({"dense_units": 8, "dropout": 0}, ["dense", "logits"]),
        ({"dense_units": 8, "dropout": 0.3, "learning_rate": 0.1}, ["dense", "dropout", "logits"]),
    ],
)
def test_layers_are_those_that_the_values_ask_for(values: dict[str, float], names: list[str]) -> None:
    model = head(values)
    assert [layer.name for layer in model.layers[1:]] == names
    assert model.input_shape == (None, SIZE)
    assert model.output_shape == (None, CLASSES)
    if values["dropout"]:
        assert model.get_layer("dropout").rate == values["dropout"]
    if values["dense_units"]:
        assert model.get_layer("dense").units == values["dense_units"]
        assert model.get_layer("dense").activation is keras.activations.relu
    assert model.get_layer("logits").activation is keras.activations.linear


def test_same_seed_gives_the_same_weights_whatever_was_built_before() -> None:
    expected = arrays(head())
    head(seed=2)
    keras.utils.set_random_seed(99)
    for one, other in zip(arrays(head()), expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("change", [{"seed": 2}, {"study_seed": 2}])
def test_another_seed_gives_other_weights_and_other_dropout(change: dict[str, int]) -> None:
    one, other = head(), head(**change)
    for name in ("dense", "logits"):
        assert not np.allclose(one.get_layer(name).kernel, other.get_layer(name).kernel)
    ones = np.ones((4, 1000), np.float32)
    dropped = [np.asarray(model.get_layer("dropout")(ones, training=True)) for model in (one, other, head())]
    assert not np.array_equal(dropped[0], dropped[1])
    np.testing.assert_array_equal(dropped[0], dropped[2])


def test_layers_do_not_share_their_draws() -> None:
    model = head({"dense_units": SIZE, "dropout": 0.0})
    dense, logits = (np.asarray(model.get_layer(name).kernel) for name in ("dense", "logits"))
    assert not np.allclose(dense.ravel()[: logits.size] / dense.std(), logits.ravel() / logits.std())


@pytest.mark.parametrize("dense_units", [0, 1, 10, 100])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_parameters_are_counted_as_keras_counts_them(dense_units: int, dropout: float) -> None:
    values = {"dense_units": dense_units, "dropout": dropout}
    counted = count_parameters(values, feature_size=SIZE, num_classes=CLASSES)
    assert counted == sum(array.size for array in arrays(head(values)))


OTHERS = [
    {"dense_units": 0, "dropout": 0.0, "pooling": "avg"},
    {"dense_units": 7, "dropout": 0.2, "pooling": "max"},
    {"dense_units": 7, "dropout": 0.2, "pooling": "both"},
    {"dense_units": 8, "dropout": 0.2, "dense_layers": 2},
    {"dense_units": 8, "dropout": 0.2, "dense_layers": 3, "dense_units_2": 5, "dropout_1": 0.1, "dropout_2": 0.3},
    {"dense_units": 8, "dropout": 0.2, "dense_layers": 3, "dense_units_3": 4, "activation": "gelu"},
    {"dense_units": 8, "dropout": 0.2, "normalization": "batch", "activation": "tanh"},
    {"dense_units": 8, "dropout": 0.0, "dense_layers": 2, "normalization": "layer", "activation": "sigmoid"},
]


@pytest.mark.parametrize("values", OTHERS)
def test_deeper_heads_are_counted_saved_and_loaded(values: dict[str, Value], tmp_path: Path) -> None:
    model = head(values)
    counted = count_parameters(values, feature_size=SIZE, num_classes=CLASSES)
    assert counted == sum(array.size for array in arrays(model))
    model.save(tmp_path / "head.keras")
    loaded = keras.saving.load_model(tmp_path / "head.keras", safe_mode=True, compile=False)
    features = np.random.default_rng(1).normal(size=(6, SIZE)).astype(np.float32)
    np.testing.assert_array_equal(model.predict_on_batch(features), loaded.predict_on_batch(features))


def test_layers_stand_in_their_order() -> None:
    model = head(OTHERS[4])
    names = ["dense", "dropout_1", "dense_2", "dropout_2", "dense_3", "dropout", "logits"]
    assert [layer.name for layer in model.layers[1:]] == names
    assert [model.get_layer(name).units for name in names if "dense" in name] == [8, 5, 5]
    assert [model.get_layer(name).rate for name in names if "dropout" in name] == [0.1, 0.3, 0.2]


def test_normalization_stands_before_the_activation() -> None:
    model = head(OTHERS[6])
    names = ["dense", "batch_normalization_1", "activation_1", "dropout", "logits"]
    assert [layer.name for layer in model.layers[1:]] == names
    assert model.get_layer("dense").activation is keras.activations.linear
    assert model.get_layer("activation_1").activation is keras.activations.tanh


@pytest.mark.parametrize(("pooling", "used"), [("avg", slice(0, 6)), ("max", slice(6, 12)), ("both", slice(0, 12))])
def test_pooling_takes_its_part_of_the_features(pooling: str, used: slice) -> None:
    model = head({"dense_units": 0, "dropout": 0.0, "pooling": pooling})
    features = np.random.default_rng(1).normal(size=(6, SIZE)).astype(np.float32)
    others = features.copy()
    others[:, [place for place in range(SIZE) if place not in range(SIZE)[used]]] = 0
    np.testing.assert_array_equal(model.predict_on_batch(features), model.predict_on_batch(others))
    others[:, used] += 1
    assert not np.allclose(model.predict_on_batch(features), model.predict_on_batch(others))
