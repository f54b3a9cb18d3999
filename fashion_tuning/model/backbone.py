"""The frozen part of the network: an image in, pooled features out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from fashion_tuning.errors import WeightsError
from fashion_tuning.model.weights import Weights

if TYPE_CHECKING:
    import keras

# Names in the feature key: they change whenever what they stand for does.
PREPROCESSING: Final = "tf"  # Keras's name for x / 127.5 - 1
CUT: Final = "avg_pool"
FEATURE_SIZE: Final = 2048


def build_prefix(weights: Weights, *, image_size: int, precision: str = "float32") -> keras.Model:
    """Builds the frozen prefix; its layer "xception" is the base, average pooling included.

    Takes (batch, image_size, image_size, 3), RGB in 0..255, integers or floats; gives (batch, FEATURE_SIZE) float32.
    Nothing in it is trainable, and batch normalization uses the stored statistics.

    Args:
      image_size: Pixels, at least 71.
      precision: "float32", or "bfloat16": products in that, weights and sums in float32.

    Raises:
      WeightsError: the weights' file can't be loaded.
    """
    import keras

    shape = (image_size, image_size, 3)
    exact = precision == "float32"
    with _policy("float32" if exact else f"mixed_{precision}"):
        base = keras.applications.Xception(
            include_top=False, weights=None, input_shape=shape, pooling="avg" if exact else None
        )
    try:
        base.load_weights(weights.path)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{weights.path}: {error}",
            expected="the weights of Xception without its top",
            action="start again: a damaged file is found and fetched anew",
        ) from error
    base.trainable = False
    images = keras.Input(shape)
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(images)
    features = base(scaled, training=False)
    if not exact:  # a mean of rounded values is better than a rounded mean
        features = keras.layers.GlobalAveragePooling2D(dtype="float32")(features)
    return keras.Model(images, features, name="prefix")


@contextmanager
def _policy(name: str) -> Iterator[None]:
    """Layers that are built meanwhile compute in this precision (keras.io/api/mixed_precision)."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
