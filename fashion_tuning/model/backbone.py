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
AVERAGE: Final = "avg_pool"
AVERAGE_AND_MAXIMUM: Final = "avg_pool+max_pool"
FEATURE_SIZES: Final = {AVERAGE: 2048, AVERAGE_AND_MAXIMUM: 4096}


def build_prefix(
    weights: Weights, *, image_size: int, precision: str = "float32", cut: str = AVERAGE, dtype: str | None = None
) -> keras.Model:
    """Builds the frozen prefix; its layer "xception" is the base, pooling included.

    Takes (batch, image_size, image_size, 3), RGB in 0..255, integers or floats; gives (batch, FEATURE_SIZES[cut])
    float32, averages over the image before maxima. Nothing in it is trainable, and batch normalization uses the
    stored statistics.

    Args:
      image_size: Pixels, at least 71.
      precision: "float32", or "bfloat16": products in that, weights and sums in float32.
      dtype: Of the pixels, where it is part of the model.

    Raises:
      WeightsError: the weights' file can't be loaded.
    """
    import keras

    shape = (image_size, image_size, 3)
    with _policy("float32" if precision == "float32" else f"mixed_{precision}"):
        base = keras.applications.Xception(
            include_top=False,
            weights=None,
            input_shape=shape,
            pooling="avg" if (precision, cut) == ("float32", AVERAGE) else None,
        )
    try:
        base.load_weights(weights.path)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{weights.path}: {error}",
            expected="the weights of Xception without its top",
            action="start again: a damaged file is found and fetched anew",
        ) from error
    if len(base.output_shape) == 4:  # a mean of rounded values is better than a rounded mean
        pooled = [keras.layers.GlobalAveragePooling2D(dtype="float32")(base.output)]
        if cut == AVERAGE_AND_MAXIMUM:
            pooled.append(keras.layers.GlobalMaxPooling2D(dtype="float32")(base.output))
        outputs = keras.layers.Concatenate(dtype="float32")(pooled) if len(pooled) > 1 else pooled[0]
        base = keras.Model(base.input, outputs, name="xception")
    base.trainable = False
    images = keras.Input(shape, dtype=dtype, name="images")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1, dtype="float32", name="scaling")(images)
    return keras.Model(images, base(scaled, training=False), name="prefix")


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
