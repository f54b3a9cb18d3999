"""Training, and what a process needs to compute at all, by the backend that Keras was started with."""

from __future__ import annotations

import gc
from functools import partial
from typing import TYPE_CHECKING

import keras

from fashion_tuning.backend import choose_backend
from fashion_tuning.model.engine.suffix import SuffixTrainer as _SuffixTrainer
from fashion_tuning.model.exact import hold_exact

if TYPE_CHECKING or choose_backend() == "tensorflow":
    from fashion_tuning.model.engine import on_tensorflow as _backend
else:
    from fashion_tuning.model.engine import on_torch as _backend

Adam = _backend.Adam
HeadTrainer = _backend.HeadTrainer
device_kind = _backend.device_kind
has_tensor_float_32 = _backend.has_tensor_float_32
refuse_tensor_float_32 = _backend.refuse_tensor_float_32

SuffixTrainer = partial(_SuffixTrainer, adam=Adam, stepper=_backend.Stepper)


def prepare() -> None:
    """Makes runs of this process repeatable and exact, for good.

    Call once per process, before any model is built.
    """
    _backend.make_repeatable()
    hold_exact()


def forget_models() -> None:
    """Frees what earlier models of this process hold: graphs, copies of the features, weights.

    Keras's global seed goes with it; nothing here draws from that.
    """
    keras.utils.clear_session()
    gc.collect()
