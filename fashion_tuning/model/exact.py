"""Keras's global settings that a result depends on: the program's while it computes, whatever a user's file says.

A process of this program has them for good, with float32 products in float32 on a GPU too. In somebody else's, where
MLflow loads a model or a notebook this package, they are this program's while a model is made, loaded or answers, and
afterwards what they were; its environment, its choice of TF32 and all else there are left alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Final

from fashion_tuning.backend import choose_backend
from fashion_tuning.errors import UsageError
from fashion_tuning.quiet import silent_stderr
from fashion_tuning.surroundings import is_ours


@dataclass(frozen=True)
class Settings:
    """Settings that hold for a whole process; as Keras has them where nobody says anything.

    Args:
      floatx, epsilon, image_data_format: Of keras.config, which takes them from ~/.keras/keras.json.
    """

    floatx: str = "float32"
    epsilon: float = 1e-7
    image_data_format: str = "channels_last"


EXACT: Final = Settings()


def read_settings() -> Settings:
    """What holds now."""
    config, _ = _libraries()
    return Settings(config.floatx(), config.epsilon(), config.image_data_format())


def apply_settings(settings: Settings) -> None:
    """Makes these hold."""
    config, _ = _libraries()
    config.set_floatx(settings.floatx)
    config.set_epsilon(settings.epsilon)
    config.set_image_data_format(settings.image_data_format)


def hold_exact() -> None:
    """Makes the exact settings hold for good: in a process that is this program's alone."""
    config, engine = _libraries()
    apply_settings(EXACT)
    config.set_dtype_policy(EXACT.floatx)
    engine.refuse_tensor_float_32()


@contextmanager
def exact_settings() -> Iterator[None]:
    """While the block or the decorated function lasts, the exact settings hold; safe in any thread."""
    config, _ = _libraries()
    if is_ours():
        _hold_once()
    # Keras keeps the policy by thread, and all else by process. Read first: it may follow from floatx.
    policy = config.dtype_policy()
    _blocks.enter()
    config.set_dtype_policy(EXACT.floatx)
    try:
        yield
    finally:
        config.set_dtype_policy(policy)
        _blocks.leave()


def device_kind() -> str:
    """What Keras computes on here: "cpu", or its backend's name for another kind of device."""
    _, engine = _libraries()
    return str(engine.device_kind())


def require_device(kind: str, *, what: str) -> None:
    """Makes sure that Keras computes on this kind of device here.

    Args:
      what: What has to be computed there.

    Raises:
      UsageError: It computes on another one.
    """
    if (here := device_kind()) != kind:
        hidden = "hide the other one: CUDA_VISIBLE_DEVICES=-1, or with PyTorch KERAS_TORCH_DEVICE=cpu"
        raise UsageError(
            f"{what} on {kind}, and Keras computes on {here} here",
            expected="the same kind of device: another one sums in another order, and rounds otherwise",
            action=hidden if kind == "cpu" else f"use a machine with a device that Keras calls {kind}",
        )


@cache
def _libraries() -> tuple[Any, ModuleType]:
    """keras.config and model/engine: imported here, since most of what uses this has to start without them."""
    choose_backend()
    with silent_stderr():
        import keras

        from fashion_tuning.model import engine
    return keras.config, engine


@cache
def _hold_once() -> None:
    hold_exact()


class _Blocks:
    """The blocks that run just now: the first one makes the settings hold, the last one puts back what was before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0
        self._before = EXACT

    def enter(self) -> None:
        with self._lock:
            if self._number == 0:
                self._before = read_settings()
                if self._before != EXACT:
                    apply_settings(EXACT)
            self._number += 1

    def leave(self) -> None:
        with self._lock:
            self._number -= 1
            if self._number == 0 and self._before != EXACT:
                apply_settings(self._before)


_blocks = _Blocks()
