"""Training and what a process needs for it, by the backend that Keras was started with."""

from __future__ import annotations

from functools import partial

import keras

from fashion_tuning.errors import UsageError
from fashion_tuning.model.engine.suffix import SuffixTrainer as _SuffixTrainer

if keras.backend.backend() != "tensorflow":
    raise UsageError(
        f"KERAS_BACKEND={keras.backend.backend()}", expected="tensorflow", action="unset it, or name tensorflow"
    )

from fashion_tuning.model.engine.on_tensorflow import FusedAdam, HeadTrainer, Stepper, forget_models, prepare

SuffixTrainer = partial(_SuffixTrainer, adam=FusedAdam, stepper=Stepper)

__all__ = ["HeadTrainer", "SuffixTrainer", "forget_models", "prepare"]
