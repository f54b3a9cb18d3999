"""What a final run has come to, as plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass

from fashion_tuning.evaluate import Evaluation
from fashion_tuning.final.promotion import Promotion
from fashion_tuning.model.whole import Parity
from fashion_tuning.tracking.records import StudyRecord, TrialRecord
from fashion_tuning.tracking.registry import Version


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation between the study's size and the final one, with its 95% bootstrap interval."""

    value: float
    low: float
    high: float
    num_trials: int


@dataclass(frozen=True)
class Outcome:
    """What a final run has come to.

    Args:
      trials: Its completed trials: candidates, baseline, learning rates.
      candidate: The chosen configuration; winner: the same or another learning rate of it, the model that ships.
      correlation: None where there was no study.
      parity: None where the model was made by an earlier start.
      published: Figures of others on the same test photos; "" for other photos.
    """

    final: StudyRecord
    trials: tuple[TrialRecord, ...]
    candidate: TrialRecord
    winner: TrialRecord
    baseline: TrialRecord | None
    correlation: Correlation | None
    parity: Parity | None
    version: Version
    promotion: Promotion
    evaluation: Evaluation
    published: str
