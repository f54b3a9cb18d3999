"""What a final run starts from: a card with photos and weights, and the trials of its study."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from fashion_tuning.config import Card
from fashion_tuning.hyperparameters import Value
from fashion_tuning.study.inputs import StudyInputs
from fashion_tuning.study.leaderboard import leaderboard
from fashion_tuning.tracking import tag_names
from fashion_tuning.tracking.origin import Origin
from fashion_tuning.tracking.records import StudyRecord, TrialRecord
from fashion_tuning.tracking.store import Store

# ML Zoomcamp, module 8, section 8.9: what the course trains at 299 px.
COURSE: Final = {"learning_rate": 0.0005, "dense_units": 100, "dropout": 0.2}


@dataclass(frozen=True)
class Job:
    """What a final run starts from.

    Args:
      card: As the person has it now; its [final] counts.
      inputs: The same card at the final size, with photos and weights.
      study: The finished study; None for a card of one fixed configuration.
      sources: Its completed trials, or that configuration.
      chosen_from: Numbers of the trials of which one may be chosen.
    """

    card: Card
    inputs: StudyInputs
    study: StudyRecord | None
    sources: tuple[TrialRecord, ...]
    chosen_from: tuple[int, ...]

    @property
    def baseline(self) -> dict[str, Value]:
        """The course's configuration on the photos themselves and their averages, whatever the card trains with."""
        values: dict[str, Value] = dict(COURSE)
        if self.card.names("backbone"):
            values["backbone"] = self.card.backbones()[0]
        if self.card.views is not None:
            values["views"] = 1
        if self.card.names("pooling"):
            values["pooling"] = "avg"
        return values

    @property
    def planned(self) -> list[tuple[Mapping[str, Value], int]]:
        """Values and epochs of all trials; of the learning rates, whose head is not known yet, the largest it can be.

        A single listed configuration has its own epochs, where it names any.
        """
        candidates = [(record.values, self.epochs) for record in self.sources]
        largest = max(
            (record.values for record in self.sources if record.trial in self.chosen_from),
            key=lambda values: float(values["dense_units"]),
        )
        rates = [(largest, self.epochs)] * len(self.card.final.learning_rate_factors)
        return [*candidates, (self.baseline, self.card.final.epochs), *rates]

    @property
    def epochs(self) -> int:
        """How many the candidates are trained for, at most."""
        own = self.card.configurations[0].epochs if self.study is None else None
        return own or self.card.final.epochs

    @property
    def parts(self) -> dict[str, object]:
        """All that decides the outcome of the final run."""
        return {
            **self.inputs.study.parts(),
            "final": {**self.card.final.model_dump(mode="json"), "image_size": self.card.final_size},
            "sources": [[record.trial, dict(record.values)] for record in self.sources],
            "chosen_from": list(self.chosen_from),
        }

    def origin(self) -> Origin:
        text = json.dumps(self.parts, sort_keys=True, separators=(",", ":"))
        return replace(
            self.inputs.origin,
            digest=hashlib.sha256(text.encode()).hexdigest()[:16],
            study=self.study.digest if self.study else self.inputs.study.digest,
            parts=self.parts,
            sources={
                **self.inputs.origin.sources,
                **({tag_names.SOURCE_STUDY_RUN: self.study.run_id} if self.study else {}),
            },
        )


def make_job(inputs: StudyInputs, store: Store, study: StudyRecord | None, *, top: int) -> Job:
    """What a final run of a study, or of a fixed card, starts from; read-only.

    Args:
      inputs: The card as it is, with photos and weights.
      top: How many of the study's best trials may be chosen.

    Raises:
      NoTrialError: The study has no completed trial.
    """
    card = inputs.card
    final = replace(inputs, card=card.at_final_size())
    if study is None:
        values = card.values_of(card.configurations[0])
        only = TrialRecord("", 1, 1, 1, None, "FINISHED", values, {}, 0, listed=True)
        return Job(card, final, None, (only,), (1,))
    board = leaderboard(store, study, rule=card.final.choose)
    ranked = [row.record for row in board.rows]
    # The trial that the leaderboard calls chosen is one of those that may be.
    preferred = sorted(board.rows, key=lambda row: (row.record != board.chosen, row.rank))
    return Job(
        card,
        final,
        study,
        tuple(sorted(ranked, key=lambda record: record.trial)),
        tuple(row.record.trial for row in preferred[:top]),
    )
