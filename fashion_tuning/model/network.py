"""The network in two: the frozen prefix, an image in and features out, and the suffix that trains behind a cut."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from fashion_tuning.backbones import AVERAGE, AVERAGE_AND_MAXIMUM, BACKBONES, POOLED
from fashion_tuning.errors import WeightsError
from fashion_tuning.model.exact import exact_settings
from fashion_tuning.model.weights import Weights

if TYPE_CHECKING:
    import keras

# What pixels in 0..255 are multiplied by, and what is added then, see Backbone.preprocessing.
_MEANS, _DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SCALINGS: Final[dict[str, tuple[object, object]]] = {
    "tf": (1 / 127.5, -1),
    "torch": (
        [1 / (255 * deviation) for deviation in _DEVIATIONS],
        [-mean / deviation for mean, deviation in zip(_MEANS, _DEVIATIONS, strict=True)],
    ),
}


@exact_settings()
def build_prefix(
    weights: Weights, *, image_size: int, precision: str = "float32", cut: str = AVERAGE, dtype: str | None = None
) -> keras.Model:
    """Builds the frozen prefix; its layer of the backbone's name is the base, pooling included.

    Takes (batch, image_size, image_size, 3), RGB in 0..255, integers or floats; gives (batch, *row_shape) float32,
    see `backbones.row_shape`; of pooled features averages over the image before maxima. Nothing in it is trainable,
    and batch normalization uses the stored statistics.

    Args:
      image_size: Pixels, at least 71.
      precision: "float32", or "bfloat16": products in that, weights and sums in float32.
      cut: Where it ends, see backbones.py.
      dtype: Of the pixels, where it is part of the model.

    Raises:
      WeightsError: the weights' file can't be loaded.
    """
    import keras

    whole = _build_base(weights, image_size=image_size, precision=precision)
    base = keras.Model(whole.input, _end(whole, weights.name, cut), name=weights.name)
    base.trainable = False
    images = keras.Input((image_size, image_size, 3), dtype=dtype, name="images")
    scale, offset = _SCALINGS[BACKBONES[weights.name].preprocessing]
    scaled = keras.layers.Rescaling(scale, offset=offset, dtype="float32", name="scaling")(images)
    return keras.Model(images, base(scaled, training=False), name="prefix")


@exact_settings()
def build_between(weights: Weights, *, image_size: int, start: str, cut: str) -> keras.Model:
    """The frozen part between two cuts: what is cached at `start`, float32, in, what `build_prefix` gives at `cut` out.

    Raises:
      WeightsError: the weights' file can't be loaded.
    """
    import keras

    base = _build_base(weights, image_size=image_size)
    between = keras.Model(_tensor_at(base, weights.name, start), _end(base, weights.name, cut), name="between")
    between.trainable = False
    return between


@exact_settings()
def build_suffix(weights: Weights, *, image_size: int, cut: str) -> keras.Model:
    """What comes after a cut, with ImageNet weights of its own: (batch, height, width, channels) -> the last map.

    Everything in it is trainable. Pointwise convolutions are written as the matrix products that they are: on a
    processor TensorFlow's gradient of the convolution itself is slow (tensorflow 2.21, Conv2DBackpropInput).

    Raises:
      WeightsError: the weights' file can't be loaded.
    """
    import keras

    base = _build_base(weights, image_size=image_size)
    return _with_products(keras.Model(_tensor_at(base, weights.name, cut), base.output, name="suffix"))


def _with_products(model: keras.Model) -> keras.Model:
    """The same function with the same weights, its pointwise convolutions of stride 1 as products."""
    import keras

    def product(layer: keras.layers.Layer, name: str) -> keras.layers.Layer:
        return keras.layers.EinsumDense(
            "bhwi,io->bhwo",
            output_shape=(None, None, layer.filters),
            bias_axes="o" if layer.use_bias else None,
            activation=layer.activation,
            name=name,
        )

    def rewritten(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.SeparableConv2D):
            depthwise = keras.layers.DepthwiseConv2D(
                layer.kernel_size,
                strides=layer.strides,
                padding=layer.padding,
                depth_multiplier=layer.depth_multiplier,
                dilation_rate=layer.dilation_rate,
                use_bias=False,
                name=f"{layer.name}_depthwise",
            )
            return keras.Sequential([depthwise, product(layer, f"{layer.name}_pointwise")], name=layer.name)
        if _is_pointwise(layer):
            return product(layer, layer.name)
        return layer.__class__.from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=rewritten)
    for layer, twin in zip(model.layers, copy.layers, strict=True):
        # A kernel of (1, 1, in, out) becomes one of (in, out); all else has the shape it had.
        values = zip(layer.get_weights(), twin.get_weights(), strict=True)
        twin.set_weights([value.reshape(place.shape) for value, place in values])
    return copy


def _is_pointwise(layer: keras.layers.Layer) -> bool:
    import keras

    return (
        isinstance(layer, keras.layers.Conv2D)
        and layer.kernel_size == (1, 1)
        and layer.strides == (1, 1)
        and layer.groups == 1
    )


@exact_settings()
def pool(outputs: keras.KerasTensor, *, both: bool) -> keras.KerasTensor:
    """Averages over a map, (batch, channels) float32, or averages and maxima, (batch, 2 * channels)."""
    import keras

    # In float32 whatever the map is: a mean of rounded values is better than a rounded mean.
    averages = keras.layers.GlobalAveragePooling2D(dtype="float32")(outputs)
    if not both:
        return averages
    maxima = keras.layers.GlobalMaxPooling2D(dtype="float32")(outputs)
    return keras.layers.Concatenate(dtype="float32")([averages, maxima])


def _end(base: keras.Model, backbone: str, cut: str) -> keras.KerasTensor:
    """What is cached, in float32 whatever the base computes in."""
    import keras

    if cut in POOLED:
        return pool(base.output, both=cut == AVERAGE_AND_MAXIMUM)
    end = _tensor_at(base, backbone, cut)
    if end.dtype == "float32":
        return end
    return keras.layers.Activation("linear", dtype="float32", name="features")(end)


def _tensor_at(base: keras.Model, backbone: str, cut: str) -> keras.KerasTensor:
    return base.get_layer(BACKBONES[backbone].cuts[cut].layer).input


def _build_base(weights: Weights, *, image_size: int, precision: str = "float32") -> keras.Model:
    import keras

    known = BACKBONES[weights.name]
    application = getattr(keras.applications, known.application)
    with _policy("float32" if precision == "float32" else f"mixed_{precision}"):
        base = application(include_top=False, weights=None, input_shape=(image_size, image_size, 3), **known.options)
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
