"""The trainable part of the network: from pooled features to class logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fashion_tuning.hyperparameters import Value, setting
from fashion_tuning.model.exact import exact_settings
from fashion_tuning.seeds import derive_seed

if TYPE_CHECKING:
    import keras


@exact_settings()
def build_head(
    values: Mapping[str, Value], *, feature_size: int, num_classes: int, study_seed: int, seed: int
) -> keras.Model:
    """A fresh head whose initial weights and dropout draws depend on (study seed, seed) alone.

    Args:
      values: See `hyperparameters`; those of the optimizer are not the head's and are left alone. `pooling` among
        them says which half of the features is used, averages before maxima, or both.
      feature_size: Width of the pooled features.
      num_classes: Width of the output.
      study_seed: The card's seed.
      seed: Which repetition, counted from 1.

    Returns:
      A Keras model (batch, feature_size) float32 -> logits (batch, num_classes) float32.
    """
    import keras

    def initializer(layer: str) -> keras.initializers.Initializer:
        return keras.initializers.GlorotUniform(seed=derive_seed(study_seed, seed, layer))

    def drop(outputs: keras.KerasTensor, rate: Value, name: str) -> keras.KerasTensor:
        if not rate:
            return outputs
        return keras.layers.Dropout(rate, seed=derive_seed(study_seed, seed, name), name=name)(outputs)

    inputs = outputs = keras.Input((feature_size,), name="features")
    half = feature_size // 2
    if values.get("pooling") == "avg":
        outputs = outputs[:, :half]
    elif values.get("pooling") == "max":
        outputs = outputs[:, half:]
    units = dense_units(values)
    activation, normalization = setting("activation", values), setting("normalization", values)
    for number, width in enumerate(units, 1):
        name = "dense" if number == 1 else f"dense_{number}"
        plain = normalization == "none"
        outputs = keras.layers.Dense(
            width,
            activation=activation if plain else None,
            use_bias=normalization != "batch",  # which takes it away again; Adam would make steps of rounding errors
            kernel_initializer=initializer(name),
            name=name,
        )(outputs)
        if not plain:
            kind = {"batch": keras.layers.BatchNormalization, "layer": keras.layers.LayerNormalization}
            outputs = kind[str(normalization)](name=f"{normalization}_normalization_{number}")(outputs)
            outputs = keras.layers.Activation(activation, name=f"activation_{number}")(outputs)
        if number < len(units):
            outputs = drop(outputs, setting(f"dropout_{number}", values), f"dropout_{number}")
    outputs = drop(outputs, values["dropout"], "dropout")
    outputs = keras.layers.Dense(num_classes, kernel_initializer=initializer("logits"), name="logits")(outputs)
    return keras.Model(inputs, outputs, name=f"head_seed_{seed}")


def dense_units(values: Mapping[str, Value]) -> tuple[int, ...]:
    """Units of each dense layer before the output; a layer that names none is as wide as the one before it."""
    width = int(values["dense_units"])
    if not width:
        return ()
    units = [width]
    for number in range(2, int(setting("dense_layers", values)) + 1):
        units.append(int(values.get(f"dense_units_{number}", units[-1])))
    return tuple(units)


def count_parameters(values: Mapping[str, Value], *, feature_size: int, num_classes: int) -> int:
    """Trainable parameters of the head that `build_head` makes from the same arguments."""
    width = feature_size // 2 if values.get("pooling") in ("avg", "max") else feature_size
    # Of each unit beside its weights: a bias, or a scale and an offset, or all of them.
    others = {"none": 1, "batch": 2, "layer": 3}[str(setting("normalization", values))]
    parameters = 0
    for units in dense_units(values):
        parameters += (width + others) * units
        width = units
    return parameters + (width + 1) * num_classes
