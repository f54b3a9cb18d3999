"""Several studies side by side: one ranking over all their trials, and what sets the studies apart; read-only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fashion_tuning.study import selection
from fashion_tuning.study.differences import differences
from fashion_tuning.study.leaderboard import Leaderboard, Row, at_best_epoch, correct_by_epoch
from fashion_tuning.tracking.records import StudyRecord, read_origin
from fashion_tuning.tracking.store import Store

# Which parts of a study's digest belong to which kind of difference.
KINDS = {
    "space": ("space", "search", "pruning", "configurations"),
    "training": ("training", "seed", "model", "teacher"),
    "data": ("images", "views", "inputs"),
}
_MOST = 12


@dataclass(frozen=True)
class ComparedRow:
    """A completed trial among those of all studies; `tied` where it can't be told from the best of them all.

    `comparable` says whether its study has as many seeds as the best one's, and the same photos, so that they can be
    paired.
    """

    rank: int
    study: StudyRecord
    row: Row
    tied: bool
    comparable: bool


@dataclass(frozen=True)
class Difference:
    """What sets a study apart from the first one.

    Args:
      kind: space, data, training or versions.
      lines: "key: first -> this" each.
    """

    study: StudyRecord
    kind: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Several studies, the first of which the others are told apart from."""

    boards: tuple[Leaderboard, ...]
    rows: tuple[ComparedRow, ...]
    differences: tuple[Difference, ...]

    def as_dicts(self) -> list[dict[str, object]]:
        """One flat dict per completed trial, for JSON and CSV."""
        by_run = {str(entry["run_id"]): entry for board in self.boards for entry in board.as_dicts()}
        return [
            {
                **by_run[one.row.record.run_id],
                "rank": one.rank,
                "tied_with_best": one.tied,
                "comparable": one.comparable,
                "study": one.study.experiment,
                "study_run": one.study.run_id,
            }
            for one in self.rows
        ]


def compare(store: Store, boards: Sequence[Leaderboard]) -> Comparison:
    """Ranks the trials of all boards together, at least two.

    Raises:
      StoreError: The store, or kept predictions, can't be read.
    """
    entries = [(board.study, row) for board in boards for row in board.rows]
    entries.sort(key=lambda entry: -entry[1].record.metrics["best_val_accuracy"])
    first_study, first = entries[0]
    best = at_best_epoch(correct_by_epoch(store, first.record), first.record)
    rows = []
    for rank, (study, row) in enumerate(entries, 1):
        comparable = _photos(study) == _photos(first_study) and len(row.seeds) == len(first.seeds)
        tied = rank == 1
        if comparable and not tied:
            tied = selection.tied(best, at_best_epoch(correct_by_epoch(store, row.record), row.record))
        rows.append(ComparedRow(rank, study, row, tied, comparable))
    found = [one for board in boards[1:] for one in _differences(store, boards[0].study, board.study)]
    return Comparison(tuple(boards), tuple(rows), tuple(found))


def _photos(study: StudyRecord) -> object:
    inputs = study.parts.get("inputs")
    return inputs.get("manifest") if isinstance(inputs, dict) else None


def _differences(store: Store, first: StudyRecord, other: StudyRecord) -> list[Difference]:
    found = []
    for kind, keys in KINDS.items():
        before, after = ({key: one.parts[key] for key in keys if key in one.parts} for one in (first, other))
        found.append(Difference(other, kind, _short(differences(before, after))))
    versions = differences(read_origin(store, first.run_id), read_origin(store, other.run_id))
    found.append(Difference(other, "versions", _short(versions)))
    return [one for one in found if one.lines]


def _short(lines: tuple[str, ...]) -> tuple[str, ...]:
    return lines if len(lines) <= _MOST else (*lines[:_MOST], f"and {len(lines) - _MOST} more")
