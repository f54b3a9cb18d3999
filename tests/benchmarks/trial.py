"""What a trial costs from a warm cache, and where its seconds go."""

from dataclasses import dataclass
from pathlib import Path

from mlflow.tracking import MlflowClient

from fashion_tuning.config import Card, Configuration, parse_card
from fashion_tuning.data.source import Dataset
from fashion_tuning.model.weights import Weights
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.inputs import StudyInputs
from fashion_tuning.study.tune import tune
from fashion_tuning.tracking.store import Store

EPOCHS = 10
CARD = f"""
name = "bench-trial"
seed = 1
[images]
image_size = 150
[training]
epochs = {EPOCHS}
seeds = 3
[[configurations]]
learning_rate = 0.001
dense_units = 100
dropout = 0.2
"""
STAGES = ("training", "validation", "checkpoints", "tracking")


@dataclass(frozen=True)
class Trials:
    rows: list[tuple[str, str, str, str]]
    one_seed_seconds: float


def measure(dataset: Dataset, weights: Weights, cache: Path, scratch: Path) -> Trials:
    """Seconds of trials with each size of head and three seeds, then of dense 100 with one seed."""
    worker = Worker()
    try:
        three = _run(_card(seeds=3, units=(100, 0, 10, 100, 1000)), dataset, weights, cache, scratch, worker)
        one = _run(_card(seeds=1, units=(100, 100)), dataset, weights, cache, scratch, worker)
    finally:
        worker.close()
    # The first trial of a worker also loads what the later ones find loaded.
    rows = [_row(units, metrics) for units, metrics in three[1:]]
    return Trials(rows, one[-1][1]["seconds"])


def _card(*, seeds: int, units: tuple[int, ...]) -> Card:
    card = parse_card(CARD, name="bench-trial")
    configurations = tuple(
        Configuration(learning_rate=0.001 + number * 1e-6, dense_units=width, dropout=0.2)
        for number, width in enumerate(units)
    )
    training = card.training.model_copy(update={"seeds": seeds})
    return card.model_copy(update={"training": training, "configurations": configurations})


def _run(
    card: Card, dataset: Dataset, weights: Weights, cache: Path, scratch: Path, worker: Worker
) -> list[tuple[int, dict[str, float]]]:
    store = Store(f"sqlite:///{scratch / 'trials' / 'mlflow.db'}")
    inputs = StudyInputs(card, CARD, dataset, {weights.name: weights}, cache)
    study = tune(inputs, store, workers=[worker], max_trials=None, fresh=False, report=lambda _: None)
    client = MlflowClient(store.uri)
    runs = client.search_runs(
        [client.get_run(study.run_id).info.experiment_id], f"tags.`mlflow.parentRunId` = '{study.run_id}'"
    )
    ordered = sorted(runs, key=lambda run: int(run.data.tags["fashion.trial"]))
    return [(int(run.data.params["dense_units"]), run.data.metrics) for run in ordered]


def _row(units: int, metrics: dict[str, float]) -> tuple[str, str, str, str]:
    parts = ", ".join(f"{stage} {metrics[f'seconds_{stage}']:.1f}" for stage in STAGES)
    total = metrics["seconds"]
    bookkeeping = (metrics["seconds_checkpoints"] + metrics["seconds_tracking"]) / 3
    return (
        f"trial, dense {units}, 3 seeds, {EPOCHS} epochs, from the cache ({parts} s; children and store overlap)",
        f"{total:.1f} s",
        f"{total / 3:.2f} s a seed, of which checkpoints, predictions and tracking {bookkeeping:.2f} s",
        "",
    )
