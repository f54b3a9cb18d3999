"""What a search answers when it is asked for a trial; without Keras Tuner, whose import brings TensorFlow."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from fashion_tuning.hyperparameters import Value


class Waiting(enum.Enum):
    """The type of WAITING: nothing to run until a running trial ends."""

    WAITING = "waiting"


WAITING = Waiting.WAITING


@dataclass(frozen=True)
class Suggestion:
    """What one trial is to run.

    Args:
      values: The hyperparameters by name; dense_units whole, the others floats.
      scope: Hyperband's place of the trial, under Keras Tuner's names "tuner/epochs",
        "tuner/bracket" and so on; "tuner/trial_id", our number of the trial that was
        promoted, stands in promoted ones only. Empty with the other tuners.
    """

    values: dict[str, Value]
    scope: dict[str, int | str | float | None] = field(default_factory=dict)

    @property
    def epochs(self) -> int | None:
        """Epochs to train, where the tuner says; None: the card's."""
        epochs = self.scope.get("tuner/epochs")
        return None if epochs is None else int(epochs)
