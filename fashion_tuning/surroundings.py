"""What of a machine's settings reaches what computes: of the frameworks' variables those that change no result.

Some two hundred variables are read by Keras, TensorFlow, PyTorch and what is below them, and new ones come with every
release. So it is named what may stay, and all else of theirs is taken out of the environment before they are imported.
"""

from __future__ import annotations

import os
from threading import Event
from typing import Final

_THEIRS: Final = (
    "KERAS_",
    "TF_",
    "XLA_",
    "ONEDNN_",
    "DNNL_",
    "MKL_",
    "TORCH_",
    "PYTORCH_",
    "ATEN_",
    "CUBLAS_",
    "CUBLASLT_",
    "CUDNN_",
    "NVIDIA_TF32_OVERRIDE",
    "TENSORFLOW_USE_",
    "NPY_",
)
# How many threads there are decides in which order PyTorch sums, and with TensorFlow no bit: there it may be said.
_THREADS: Final = ("OMP_",)
# Which library and which device there are is the machine's business, and a device's kind is part of a feature's key.
# The others are about memory, threads, files and words, and change no bit.
_HARMLESS: Final = frozenset(
    {
        "KERAS_BACKEND",
        "KERAS_HOME",  # where its downloads lie; of keras.json there nothing is used, see model/exact.py
        "KERAS_TORCH_DEVICE",
        "MKL_SERVICE_FORCE_INTEL",
        "MKL_THREADING_LAYER",
        "PYTORCH_ALLOC_CONF",
        "PYTORCH_CUDA_ALLOC_CONF",
        "TF_CPP_MAX_VLOG_LEVEL",
        "TF_CPP_MIN_LOG_LEVEL",
        "TF_FORCE_GPU_ALLOW_GROWTH",
        "TF_FORCE_UNIFIED_MEMORY",
        "TF_GPU_ALLOCATOR",
        "TF_GPU_THREAD_COUNT",
        "TF_GPU_THREAD_MODE",
        "TF_NUM_INTEROP_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TORCH_HOME",
        "TORCH_SHOW_CPP_STACKTRACES",
    }
)
# Terraform's (developer.hashicorp.com/terraform/cli/config/environment-variables), which share a beginning with
# TensorFlow's.
_SOMEBODY_ELSES: Final = (
    "TF_CLI_",
    "TF_CLOUD_",
    "TF_DATA_DIR",
    "TF_IGNORE",
    "TF_INPUT",
    "TF_IN_AUTOMATION",
    "TF_LOG",
    "TF_PLUGIN_",
    "TF_REATTACH_PROVIDERS",
    "TF_REGISTRY_",
    "TF_STATE_",
    "TF_TOKEN_",
    "TF_VAR_",
    "TF_WORKSPACE",
)
_ours: Final = Event()


def clear_surroundings(backend: str) -> tuple[str, ...]:
    """Takes the frameworks' settings out of the environment of this process and of those that it starts.

    To be called before any of them is imported, and in processes of this program alone, which it makes known as such.

    Args:
      backend: The one that Keras has here.

    Returns:
      The names that are gone.
    """
    beginnings = (*_THEIRS, *_THREADS) if backend == "torch" else _THEIRS
    theirs = (name for name in os.environ if name.startswith(beginnings) and not name.startswith(_SOMEBODY_ELSES))
    gone = tuple(sorted(name for name in theirs if name not in _HARMLESS))
    for name in gone:
        del os.environ[name]
    _ours.set()
    return gone


def is_ours() -> bool:
    """Whether this process is the program's own, and not one that has imported its package."""
    return _ours.is_set()
