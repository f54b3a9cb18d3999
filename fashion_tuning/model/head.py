"""The trainable part of the network: from pooled features to class logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fashion_tuning.seeds import derive_seed

if TYPE_CHECKING:
    import keras


def build_head(
    values: Mapping[str, int | float], *, feature_size: int, num_classes: int, study_seed: int, seed: int
) -> keras.Model:
    """A fresh head whose initial weights and dropout draws depend on (study seed, seed) alone.

    Args:
      values: dense_units (0: no dense layer) and dropout, the rate at the input of the
        output layer; other entries are not the head's and are left alone.
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

    inputs = outputs = keras.Input((feature_size,), name="features")
    if values["dense_units"]:
        dense = keras.layers.Dense(
            values["dense_units"], activation="relu", kernel_initializer=initializer("dense"), name="dense"
        )
        outputs = dense(outputs)
    if values["dropout"]:
        outputs = keras.layers.Dropout(
            values["dropout"], seed=derive_seed(study_seed, seed, "dropout"), name="dropout"
        )(outputs)
    outputs = keras.layers.Dense(num_classes, kernel_initializer=initializer("logits"), name="logits")(outputs)
    return keras.Model(inputs, outputs, name=f"head_seed_{seed}")


def count_parameters(values: Mapping[str, int | float], *, feature_size: int, num_classes: int) -> int:
    """Trainable parameters of the head that `build_head` makes from the same arguments."""
    units = int(values["dense_units"])
    if not units:
        return (feature_size + 1) * num_classes
    return (feature_size + 1) * units + (units + 1) * num_classes
