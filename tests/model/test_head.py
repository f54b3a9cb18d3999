import keras
import numpy as np
import pytest

from fashion_tuning.model.head import build_head, count_parameters

SIZE, CLASSES = 12, 5


def head(values: dict[str, float] | None = None, *, study_seed: int = 1, seed: int = 1) -> keras.Model:
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
