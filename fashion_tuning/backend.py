"""Which backend Keras computes with: decided here alone, before Keras is imported."""

import importlib.util
import os
import sys
from typing import Final

from fashion_tuning.errors import UsageError

BACKENDS: Final = ("tensorflow", "torch")  # Keras's names, which are those of the modules and distributions too
_SETTING: Final = "KERAS_BACKEND"


def choose_backend() -> str:
    """Keras's backend: the one that KERAS_BACKEND names, else TensorFlow where it is installed, else PyTorch.

    Sets KERAS_BACKEND, so that Keras, here and in child processes, takes no other one out of its own
    ~/.keras/keras.json. Where Keras runs already, as in a notebook, it is the one that it runs on.

    Raises:
      UsageError: There is no such backend, or it is not installed.
    """
    running = sys.modules.get("keras")
    name = running.config.backend() if running is not None else os.environ.get(_SETTING)
    if not name:
        name = next((one for one in BACKENDS if _is_installed(one)), None)
        if name is None:
            raise UsageError(
                "neither TensorFlow nor PyTorch is installed",
                expected="one of them, for Keras to compute with",
                action="pip install tensorflow, or pip install torch",
            )
    if name not in BACKENDS:
        raise UsageError(
            f"{_SETTING}={name}",
            expected=" or ".join(BACKENDS),
            action=f"unset {_SETTING}, or name one of them",
        )
    if not _is_installed(name):
        raise UsageError(
            f"{_SETTING}={name}, and {name} is not installed",
            expected="a backend that is installed",
            action=f"pip install {name}, or unset {_SETTING}",
        )
    os.environ[_SETTING] = name
    return name


def _is_installed(name: str) -> bool:
    return name in sys.modules or importlib.util.find_spec(name) is not None
