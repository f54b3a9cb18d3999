"""A reduced mode held to the exact one: the same heads on features of both, for the validation photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from fashion_tuning.errors import ParityError
from fashion_tuning.model.checkpoint import predict
from fashion_tuning.model.features import FeatureRef, load_features

SAME: Final = 0.99  # of the answers
WITHIN: Final = 1.0  # photo, of the mean accuracy over seeds


@dataclass(frozen=True)
class Agreement:
    """How heads answer on features of a reduced mode, beside those of the exact one.

    Args:
      same: Share of answers, over photos and seeds, that name the same category.
      difference: Photos that are right in the reduced mode less those in the exact one, mean over seeds.
    """

    same: float
    difference: float


def compare(heads: Sequence[Path], *, reduced: FeatureRef, exact: FeatureRef) -> Agreement:
    """Answers of every head on both; read-only.

    Raises:
      BrokenCheckpointError: A head can't be loaded.
      DataError: Features are missing or damaged.
    """
    ours, theirs = (
        np.stack([predict(head, load_features(ref)).argmax(-1) for head in heads]) for ref in (reduced, exact)
    )
    labels = exact.labels()
    right = [(answers == labels).sum(-1).mean() for answers in (ours, theirs)]
    return Agreement(float((ours == theirs).mean()), float(right[0] - right[1]))


def require_agreement(agreement: Agreement, *, mode: str) -> None:
    """Makes sure that a reduced mode may stand for the exact one.

    Raises:
      ParityError: It answers differently.
    """
    if agreement.same < SAME or abs(agreement.difference) > WITHIN:
        raise ParityError(
            f"{mode} names the same category for {agreement.same:.1%} of the validation photos, and"
            f" is right for {agreement.difference:+.1f} of them",
            expected=f"at least {SAME:.0%}, and at most {WITHIN:g} more or fewer",
            action="leave engine, precision and storage out of the card's [model]: another study",
        )
