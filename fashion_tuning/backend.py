"""Which backend Keras computes with: decided here alone, before Keras is imported."""

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from fashion_tuning.errors import UsageError

BACKENDS: Final = ("tensorflow", "torch")  # Keras's names, which are those of the modules and distributions too
_SETTING: Final = "KERAS_BACKEND"
_LEGAL: Final[Mapping[str, Callable[[object], bool]]] = {
    "floatx": lambda value: value in ("float16", "float32", "float64"),
    "epsilon": lambda value: isinstance(value, float),
    "image_data_format": lambda value: value in ("channels_first", "channels_last"),
}


def choose_backend() -> str:
    """Keras's backend: the one that KERAS_BACKEND names, else TensorFlow where it is installed, else PyTorch.

    Sets KERAS_BACKEND, so that Keras, here and in child processes, takes no other one out of its own
    ~/.keras/keras.json. Where Keras runs already, as in a notebook, it is the one that it runs on.

    Raises:
      UsageError: There is no such backend, or it is not installed, or Keras refuses its own settings.
    """
    running = sys.modules.get("keras")
    if running is None:
        _require_readable_settings()
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


def _require_readable_settings() -> None:
    """Makes sure that Keras can be imported with its user's keras.json; none of its values is used, see model/exact.py.

    Where the file is and what may stand there is Keras's own rule (keras 3.15, src/backend/config.py).

    Raises:
      UsageError: Keras would stop at it.
    """
    home = Path("~").expanduser()
    folder = os.environ.get("KERAS_HOME") or ((home if os.access(home, os.W_OK) else Path("/tmp")) / ".keras")
    path = (Path(folder) / "keras.json").expanduser()
    if not path.exists():
        return
    try:
        settings = json.loads(path.read_text())
    except OSError as error:
        wrong = error.strerror or str(error)
    except ValueError:
        return  # no JSON, which Keras passes over
    else:
        if not isinstance(settings, dict):
            wrong = f"{json.dumps(settings)[:40]} is no table"
        else:
            given = [(name, settings[name]) for name in _LEGAL if name in settings]
            wrong = next((f"{name} = {json.dumps(value)}" for name, value in given if not _LEGAL[name](value)), "")
    if wrong:
        raise UsageError(
            f"{path}: {wrong}",
            expected="a file that Keras can start with",
            action="mend it, or remove it: nothing in it is used here",
        )


def _is_installed(name: str) -> bool:
    return name in sys.modules or importlib.util.find_spec(name) is not None
