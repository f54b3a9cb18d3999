"""Training and what a process needs for it, by the backend that Keras was started with."""

from __future__ import annotations

import gc
from functools import partial
from typing import TYPE_CHECKING

import keras

from fashion_tuning.backend import choose_backend
from fashion_tuning.model.engine.suffix import SuffixTrainer as _SuffixTrainer

if TYPE_CHECKING or choose_backend() == "tensorflow":
    from fashion_tuning.model.engine.on_tensorflow import Adam, HeadTrainer, Stepper, prepare
else:
    from fashion_tuning.model.engine.on_torch import Adam, HeadTrainer, Stepper, prepare

SuffixTrainer = partial(_SuffixTrainer, adam=Adam, stepper=Stepper)

__all__ = ["HeadTrainer", "SuffixTrainer", "forget_models", "prepare"]


def forget_models() -> None:
    """Frees what earlier models of this process hold: graphs, copies of the features, weights.

    Keras's global seed goes with it; nothing here draws from that.
    """
    keras.utils.clear_session()
    gc.collect()
