"""Formats that a Keras model is written in, and how each is run."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from fashion_tuning.backend import choose_backend
from fashion_tuning.errors import UsageError
from fashion_tuning.model.exact import exact_settings

if TYPE_CHECKING:
    import keras

Runner = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Format:
    """A format of exported models.

    Args:
      suffix: Of its file; "" for a folder.
      modules: What has to be importable, from `distributions`.
      keras_name: Keras's name of it (keras.io/api/models/model_saving_apis/export).
    """

    suffix: str
    modules: tuple[str, ...]
    distributions: tuple[str, ...]
    keras_name: str


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "litert": Format(".tflite", ("ai_edge_litert",), ("ai-edge-litert",), "litert"),
        "onnx": Format(".onnx", ("tf2onnx", "onnx", "onnxruntime"), ("tf2onnx", "onnx", "onnxruntime"), "onnx"),
        "openvino": Format(".xml", ("openvino",), ("openvino",), "openvino"),
        "saved_model": Format("", ("tensorflow",), ("tensorflow",), "tf_saved_model"),
    }
)


def require_exporter() -> None:
    """Makes sure that Keras can write models in other formats here, which engine = "openvino" needs too.

    Raises:
      UsageError: It runs on a backend that can't.
    """
    if (backend := choose_backend()) != "tensorflow":
        raise UsageError(
            f"a model for another engine than Keras, with KERAS_BACKEND={backend}",
            expected="KERAS_BACKEND=tensorflow: Keras writes these formats there alone",
            action="run it with that setting where tensorflow is installed; a model of either backend loads there",
        )


@exact_settings()
def export_model(model: keras.Model, format: str, target: Path) -> None:
    """Writes a model, uint8 images in, at `target`, which must end as the format's files do.

    Raises:
      UsageError: Keras runs on a backend that can't.
    """
    require_exporter()
    (given,) = model.inputs
    model(np.zeros((1, *given.shape[1:]), given.dtype))  # Keras's ONNX exporter takes none that was only loaded
    # It prints shapes and artefacts where results belong.
    with contextlib.redirect_stdout(io.StringIO()):
        model.export(str(target), format=FORMATS[format].keras_name, verbose=False)


def load_runner(format: str, path: Path) -> Runner:
    """A function of (batch, size, size, 3) uint8 -> (batch, classes) float32, for an exported model."""
    return {"litert": _litert, "onnx": _onnx, "openvino": _openvino, "saved_model": _saved_model}[format](path)


def _litert(path: Path) -> Runner:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    (given,), (found,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(batch: np.ndarray) -> np.ndarray:
        interpreter.resize_tensor_input(given["index"], batch.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], batch)
        interpreter.invoke()
        return interpreter.get_tensor(found["index"])

    return run


def _onnx(path: Path) -> Runner:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return lambda batch: session.run(None, {given.name: batch})[0]


def _openvino(path: Path) -> Runner:
    return load_openvino(path, precision="f32")


def load_openvino(path: Path, *, precision: str) -> Runner:
    """A runner of an OpenVINO model in a named precision; its own default depends on the processor.

    Args:
      precision: OpenVINO's name, "f32" or "bf16" (docs.openvino.ai, "Precision control").

    Raises:
      UsageError: It is not installed, or this processor computes in another precision.
    """
    try:
        import openvino
    except ImportError as error:
        raise UsageError("openvino is not installed", action="pip install openvino") from error
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": precision})
    used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if used != precision:
        raise UsageError(
            f"OpenVINO in {precision}: this processor computes in {used}",
            action='set precision = "float32" in the card\'s [model], or engine = "keras"',
        )
    return lambda batch: compiled(batch)[0]


@exact_settings()
def _saved_model(path: Path) -> Runner:
    import keras

    layer = keras.layers.TFSMLayer(str(path), call_endpoint="serve")
    return lambda batch: np.asarray(layer(batch))
