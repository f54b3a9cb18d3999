"""The frozen prefix as a function of pixels, by each engine and precision that a card may name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fashion_tuning.backbones import AVERAGE
from fashion_tuning.backend import choose_backend
from fashion_tuning.errors import UsageError
from fashion_tuning.files import scratch_folder
from fashion_tuning.model.exact import exact_settings, require_device
from fashion_tuning.model.network import build_between, build_prefix
from fashion_tuning.model.weights import Weights

Prefix = Callable[[np.ndarray], np.ndarray]


def load_prefix(
    weights: Weights, *, image_size: int, engine: str, precision: str, cut: str = AVERAGE, device: str = "cpu"
) -> Prefix:
    """A function of (batch, image_size, image_size, 3) uint8 RGB -> (batch, *row_shape) float32.

    Args:
      engine: "openvino", or "keras-" and its backend.
      precision: "float32" or "bfloat16".
      cut: Where the prefix ends, see backbones.py.
      device: The kind that Keras has to compute on.

    Raises:
      UsageError: OpenVINO is not installed, or can't compute in that precision on this processor, or Keras runs on
        another backend or kind of device.
      WeightsError: The weights' file can't be loaded.
    """
    if engine == "openvino":
        return _openvino(weights, image_size=image_size, precision=precision, cut=cut)
    backend = choose_backend()
    if engine != f"keras-{backend}":
        wanted = engine.removeprefix("keras-")
        raise UsageError(
            f"features by Keras on {wanted}, and it runs on {backend} here",
            expected=f"KERAS_BACKEND={wanted}",
            action=f"set it so; a study that is begun on {backend} has features of its own",
        )
    require_device(device, what="features of images")
    prefix = build_prefix(weights, image_size=image_size, precision=precision, cut=cut)
    return exact_settings()(lambda pixels: np.asarray(prefix.predict_on_batch(pixels), np.float32))


def load_between(weights: Weights, *, image_size: int, start: str, cut: str) -> Prefix:
    """A function of what is cached at an earlier cut, by Keras in float32, -> the features at a later one.

    Raises:
      WeightsError: The weights' file can't be loaded.
    """
    between = build_between(weights, image_size=image_size, start=start, cut=cut)
    return exact_settings()(lambda maps: np.asarray(between.predict_on_batch(maps), np.float32))


def _openvino(weights: Weights, *, image_size: int, precision: str, cut: str) -> Prefix:
    from fashion_tuning.model.exporting import export_model, load_openvino

    with scratch_folder() as folder:
        path = folder / "prefix.xml"
        export_model(build_prefix(weights, image_size=image_size, cut=cut), "openvino", path)
        run = load_openvino(path, precision={"float32": "f32", "bfloat16": "bf16"}[precision])
    return lambda pixels: np.array(run(pixels.astype(np.float32)), np.float32)
