"""The network in two: the frozen prefix, an image in and features out, and the suffix that trains behind a cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fashion_tuning.errors import WeightsError
from fashion_tuning.model.backbones import AVERAGE, AVERAGE_AND_MAXIMUM, BACKBONES, POOLED
from fashion_tuning.model.weights import Weights

if TYPE_CHECKING:
    import keras


def build_prefix(
    weights: Weights, *, image_size: int, precision: str = "float32", cut: str = AVERAGE, dtype: str | None = None
) -> keras.Model:
    """Builds the frozen prefix; its layer "xception" is the base, pooling included.

    Takes (batch, image_size, image_size, 3), RGB in 0..255, integers or floats; gives (batch, *row_shape) float32,
    see `backbones.row_shape`; of pooled features averages over the image before maxima. Nothing in it is trainable,
    and batch normalization uses the stored statistics.

    Args:
      image_size: Pixels, at least 71.
      precision: "float32", or "bfloat16": products in that, weights and sums in float32.
      cut: Where it ends, see model/backbones.py.
      dtype: Of the pixels, where it is part of the model.

    Raises:
      WeightsError: the weights' file can't be loaded.
    """
    import keras

    pools_itself = (precision, cut) == ("float32", AVERAGE)
    base = _build_base(weights, image_size=image_size, precision=precision, pooling="avg" if pools_itself else None)
    if not pools_itself:
        base = keras.Model(base.input, _end(base, cut), name=base.name)
    base.trainable = False
    images = keras.Input((image_size, image_size, 3), dtype=dtype, name="images")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1, dtype="float32", name="scaling")(images)
    return keras.Model(images, base(scaled, training=False), name="prefix")


def build_between(weights: Weights, *, image_size: int, start: str, cut: str) -> keras.Model:
    """The frozen part between two cuts: what is cached at `start`, float32, in, what `build_prefix` gives at `cut` out.

    Raises:
      WeightsError: the weights' file can't be loaded.
    """
    import keras

    base = _build_base(weights, image_size=image_size)
    between = keras.Model(_tensor_at(base, start), _end(base, cut), name="between")
    between.trainable = False
    return between


def build_suffix(weights: Weights, *, image_size: int, cut: str) -> keras.Model:
    """What comes after a cut, with ImageNet weights of its own: (batch, height, width, channels) -> the last map.

    Everything in it is trainable.

    Raises:
      WeightsError: the weights' file can't be loaded.
    """
    import keras

    base = _build_base(weights, image_size=image_size)
    return keras.Model(_tensor_at(base, cut), base.output, name="suffix")


def pool(outputs: keras.KerasTensor, *, both: bool) -> keras.KerasTensor:
    """Averages over a map, (batch, channels) float32, or averages and maxima, (batch, 2 * channels)."""
    import keras

    # In float32 whatever the map is: a mean of rounded values is better than a rounded mean.
    averages = keras.layers.GlobalAveragePooling2D(dtype="float32")(outputs)
    if not both:
        return averages
    maxima = keras.layers.GlobalMaxPooling2D(dtype="float32")(outputs)
    return keras.layers.Concatenate(dtype="float32")([averages, maxima])


def _end(base: keras.Model, cut: str) -> keras.KerasTensor:
    """What is cached, in float32 whatever the base computes in."""
    import keras

    if cut in POOLED:
        return pool(base.output, both=cut == AVERAGE_AND_MAXIMUM)
    end = _tensor_at(base, cut)
    if end.dtype == "float32":
        return end
    return keras.layers.Activation("linear", dtype="float32", name="features")(end)


def _tensor_at(base: keras.Model, cut: str) -> keras.KerasTensor:
    return base.get_layer(BACKBONES[base.name].cuts[cut].layer).input


def _build_base(
    weights: Weights, *, image_size: int, precision: str = "float32", pooling: str | None = None
) -> keras.Model:
    import keras

    application = getattr(keras.applications, BACKBONES[weights.name].application)
    with _policy("float32" if precision == "float32" else f"mixed_{precision}"):
        base = application(include_top=False, weights=None, input_shape=(image_size, image_size, 3), pooling=pooling)
    try:
        base.load_weights(weights.path)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{weights.path}: {error}",
            expected=f"the weights of {BACKBONES[weights.name].application} without its top",
            action="start again: a damaged file is found and fetched anew",
        ) from error
    return base


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
