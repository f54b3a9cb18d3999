"""What a person sees of final runs and of registered models, and what a machine reads with --json."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from fashion_tuning.hyperparameters import besides
from fashion_tuning.show import PROGRAM
from fashion_tuning.show_studies import StudyTerminal, also_column, trial_cells, trial_columns
from fashion_tuning.tables import Column, Table
from fashion_tuning.wording import count, size

if TYPE_CHECKING:
    from fashion_tuning.evaluate import Evaluation
    from fashion_tuning.final.outcome import Outcome
    from fashion_tuning.service.export import Export
    from fashion_tuning.service.predict import Prediction


class ModelTerminal(StudyTerminal):
    """A terminal that knows models as well."""

    def final(self, outcome: Outcome) -> None:
        """What a final run has come to: the choice, its trials, test figures, the registry."""
        if self.as_json:
            self.json("final", outcome_json(outcome))
            return
        final, winner = outcome.final, outcome.winner
        self.line(f"\n{final.experiment} · final {final.digest} · run {final.run_id}")
        self.table(_final_table(outcome))
        found = outcome.correlation
        origin = "the card's configuration" if found is None else f"{winner.source} of the study"
        self.line(f"chosen: {winner.stage.replace('_', ' ')} {winner.trial:02d}, of {origin}")
        if found is not None and found.value != found.value:
            self.line(f"the ranks at the two sizes can't be compared: {count(found.num_trials, 'trial')}")
        elif found is not None:
            self.line(
                f"rank correlation between the sizes (Spearman, {found.num_trials} trials): {found.value:.2f},"
                f" 95% interval {found.low:.2f} to {found.high:.2f}"
            )
        self.evaluation(outcome.evaluation)
        if outcome.published:
            self.line(f"  published: {outcome.published}")
        promotion = outcome.promotion
        self.line(f"registered: {outcome.version} (run {outcome.version.run_id}), alias candidate")
        moved = "alias champion is there too" if promotion.moved else f"alias champion stays at {promotion.champion}"
        self.line(f"{moved}: {promotion.reason}")

    def evaluation(self, evaluation: Evaluation) -> None:
        """Figures of one look at a split."""
        if self.as_json:
            values = {"run": evaluation.run_id, "split": evaluation.split, "look": evaluation.look}
            values["views"] = evaluation.num_views
            self.json("evaluation", {**values, "metrics": evaluation.metrics()})
            return
        figures = evaluation.figures
        headers = ("precision", "recall", "F1", "photos")
        table = Table([Column(evaluation.split), *(Column(header, right=True) for header in headers)])
        for one in figures.classes:
            table.add(one.name, f"{one.precision:.3f}", f"{one.recall:.3f}", f"{one.f1:.3f}", str(one.support))
        self.table(table)
        views = f", mean of {evaluation.num_views} views each" if evaluation.num_views > 1 else ""
        spread = f" ± {stdev(evaluation.seeds):.4f}" if len(evaluation.seeds) > 1 else ""
        self.line(
            f"{evaluation.split} accuracy {figures.accuracy:.4f}, 95% interval {figures.low:.4f} to {figures.high:.4f}"
            f" (look {evaluation.look} at these photos{views}); over seeds {fmean(evaluation.seeds):.4f}{spread}"
        )
        self.line(
            f"  macro F1 {figures.macro_f1:.4f} · top 2 {figures.top_2:.4f} · top 3 {figures.top_3:.4f}"
            f" · log loss {figures.log_loss:.3f} · calibration error {figures.calibration_error:.3f}"
            f" · at train's priors {figures.accuracy_at_train_priors:.4f}"
        )
        if (test := evaluation.against_baseline) is not None:
            self.line(
                f"  the course's configuration {evaluation.baseline:.4f}; right alone {test.only_first}"
                f" against {test.only_second} (McNemar p = {test.p_value:.3f})"
            )

    def predictions(self, predictions: Iterable[Prediction]) -> list[Prediction]:
        """A table of predictions; what can't be read is told on standard error as it comes."""
        shown, rows = [], []
        with self.counting("predicting") as tell:
            for prediction in predictions:
                shown.append(prediction)
                if self.as_json:
                    ranked = [{"category": name, "probability": probability} for name, probability in prediction.ranked]
                    values = {
                        "path": str(prediction.path),
                        "ranked": ranked,
                        "seconds": prediction.seconds,
                        "problem": prediction.problem,
                    }
                    self.json("prediction", values)
                elif prediction.problem:
                    print(f"{PROGRAM}: {prediction.path}: {prediction.problem}", file=sys.stderr, flush=True)
                else:
                    answers = (f"{name} {probability:.3f}" for name, probability in prediction.ranked)
                    rows.append((str(prediction.path), *answers, f"{prediction.seconds:.2f}"))
                tell(len(shown), None)
        if rows:
            places = (Column(f"{rank}.") for rank in range(1, len(rows[0]) - 1))
            table = Table([Column("file"), *places, Column("seconds", right=True)])
            for cells in rows:
                table.add(*cells)
            self.table(table)
        return shown

    def export(self, export: Export) -> None:
        """An exported model: where, how large, how near to Keras and how fast beside it."""
        if self.as_json:
            self.json("export", asdict(export))
            return
        self.line(f"{export.path}: {export.format}, {size(export.num_bytes)}")
        self.line(
            f"largest difference to Keras in a probability, over {export.num_images} validation photos:"
            f" {export.largest_difference:.2g}"
        )
        for one in export.speeds:
            self.line(
                f"batch {one.batch_size}: {one.images_per_second:.1f} images/s, Keras"
                f" {one.keras_images_per_second:.1f}, ratio {one.images_per_second / one.keras_images_per_second:.2f}"
            )

    def imagenet(self, file: Path, found: Sequence[tuple[str, str, float]]) -> None:
        """ImageNet classes of a photo, best first."""
        if self.as_json:
            classes = [{"id": key, "name": name, "probability": probability} for key, name, probability in found]
            self.json("imagenet", {"path": str(file), "classes": classes})
            return
        for _, name, probability in found:
            self.line(f"{probability:.4f}  {name}")


def _final_table(outcome: Outcome) -> Table:
    """All trials of a final run, best first."""
    also = also_column(besides(record.values) for record in outcome.trials)
    table = Table([Column("trial"), Column("of"), *trial_columns(), Column("best\nepoch", right=True), *also], gap=1)
    for record in sorted(outcome.trials, key=lambda one: (-(one.score or 0.0), one.trial)):
        metrics = record.metrics
        mark = " <- chosen" if record == outcome.winner else ""
        table.add(
            f"{record.trial:02d} {record.stage.replace('_', ' ')}",
            record.source,
            *trial_cells(record),
            f"{metrics['best_epoch']:.0f}/{metrics['epochs_run']:.0f}{mark}",
            *([besides(record.values)] if also else []),
        )
    return table


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """What `final-train --json` prints at its end."""
    evaluation, found = outcome.evaluation, outcome.correlation
    return {
        "final_run": outcome.final.run_id,
        "trials": [asdict(record) for record in outcome.trials],
        "candidate": outcome.candidate.run_id,
        "winner": outcome.winner.run_id,
        "rank_correlation": asdict(found) if found is not None and found.value == found.value else None,
        "parity": outcome.parity.largest_difference if outcome.parity else None,
        "version": asdict(outcome.version),
        "champion": asdict(outcome.promotion),
        "evaluation_run": evaluation.run_id,
        "look": evaluation.look,
        "test": evaluation.metrics(),
    }
