"""A registered model measured on a split; the only reader of the test split."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np

from fashion_tuning.data.views import IDENTITY
from fashion_tuning.errors import DataError, StoreError, UsageError
from fashion_tuning.figures import Mistake, draw_confusion, draw_mistakes, draw_reliability
from fashion_tuning.files import SCRATCH, scratch_folder, write_text
from fashion_tuning.measures import Figures, PairedTest, mcnemar, measure
from fashion_tuning.model.checkpoint import predict, predict_mean
from fashion_tuning.model.features import FeatureRef, compute_features, feature_ref, load_features, verify_shards
from fashion_tuning.model.key import FeatureKey
from fashion_tuning.model.weights import Weights
from fashion_tuning.study.best_epoch import best_heads
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.inputs import averages, trial_key, trial_views
from fashion_tuning.study.recorded import RecordedStudy, read_recorded
from fashion_tuning.tracking.artifacts import artifacts
from fashion_tuning.tracking.evaluation_run import BY, FINAL_RUN, LOOK, MODEL, SPLIT, look
from fashion_tuning.tracking.records import StudyRecord, TrialRecord
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.tag_names import MANIFEST, STUDY

PREDICTIONS: Final = "predictions.npz"  # artifact of an evaluation run
NUM_MISTAKES = 24


@dataclass(frozen=True)
class Evaluation:
    """What one look at a split has shown.

    Args:
      look: Which look at this split of this data it was in the whole store.
      figures: Of the model that ships, seed 1.
      seeds: Accuracy of every seed's head, seed 1 first.
      baseline: Accuracy of the course's configuration, seed 1, on the photos themselves; None where it did not
        come to an end.
      against_baseline: McNemar's exact test of the model, first, against that.
      num_views: How many views of each photo the probabilities are means over; 1: the photo alone.
    """

    run_id: str
    split: str
    look: int
    figures: Figures
    seeds: tuple[float, ...]
    baseline: float | None
    against_baseline: PairedTest | None
    num_views: int = 1

    def metrics(self) -> dict[str, float]:
        """Every single number by name."""
        found = self.figures.metrics()
        found["seeds_mean"] = float(np.mean(self.seeds))
        if len(self.seeds) > 1:
            found["seeds_sd"] = float(np.std(self.seeds, ddof=1))
        found |= {f"seed_{seed}/accuracy": value for seed, value in enumerate(self.seeds, 1)}
        if self.baseline is not None and self.against_baseline is not None:
            found["baseline_accuracy"] = self.baseline
            found["mcnemar_p"] = self.against_baseline.p_value
            found["only_model_right"] = self.against_baseline.only_first
            found["only_baseline_right"] = self.against_baseline.only_second
        return found


@dataclass(frozen=True)
class Subject:
    """The model that is measured, as its final run has it.

    Args:
      final: The final run.
      winner: The trial whose seed 1 ships; baseline: the course's configuration beside it.
      version: What the registry calls it.
    """

    final: StudyRecord
    winner: TrialRecord
    baseline: TrialRecord | None
    version: str


def evaluate(
    store: Store,
    subject: Subject,
    *,
    split: str,
    by: str,
    worker: Worker,
    weights: Mapping[str, Weights],
    root: Path,
    cache_dir: Path,
    average_views: bool | None = None,
    tell: Callable[[int, int], None] = lambda *_: None,
) -> Evaluation:
    """Measures a model on a split and records the look; writes features of that split to the cache.

    The heads are scored on features; that the whole model says the same within 1e-4 is checked when it is made.

    Args:
      by: The command that looks.
      weights: Of the backbones of model and baseline, by name.
      root: Where the photos are.
      average_views: Average probabilities over the photos and the views that the model was trained with; None: where
        its trial did so on validation.
      tell: Told of (features computed, features in all).

    Raises:
      UsageError: The model was trained with no views to average over.
      DataError: Photos are missing or not those on record.
      StoreError: The store, or a checkpoint in it, can't be read.
    """
    recorded = read_recorded(store, subject.final)
    views = [IDENTITY, *trial_views(recorded.card, subject.winner.values)]
    if average_views and len(views) == 1:
        raise UsageError(f"--average-views of {subject.version}", expected="a model that was trained with views")
    if not (averages(recorded.card) if average_views is None else average_views):
        views = views[:1]
    key = _exact_key(recorded, subject.winner)
    manifest = recorded.manifest
    refs = [feature_ref(replace(key, view=view.name), split, manifest=manifest, cache_dir=cache_dir) for view in views]
    needed = list(refs)
    if subject.baseline is not None:
        baseline_key = _exact_key(recorded, subject.baseline)
        needed.append(feature_ref(baseline_key, split, manifest=manifest, cache_dir=cache_dir))
    ref, mean = refs[0], f", mean of {len(refs)} views" if len(refs) > 1 else ""
    tags = {
        SPLIT: split,
        MANIFEST: recorded.manifest.digest,
        MODEL: subject.version,
        FINAL_RUN: subject.final.run_id,
        STUDY: subject.final.study,
        BY: by,
    }
    experiment_id = store.make_experiment(subject.final.experiment, description="")
    name = f"evaluation on {split} · {subject.version}{mean}"
    # Before the look: what goes wrong here has shown nothing.
    _require_photos(ref, root)
    for place, one in enumerate(needed):
        if all(verify_shards(one)):
            continue  # no process is needed to find them
        for progress in worker.run(compute_features, one, root=root, weights=weights[one.key.backbone]):
            tell(place * progress.total + progress.done, len(needed) * progress.total)
    features, labels = [load_features(one) for one in refs], ref.labels()
    with look(store, experiment_id, name=name, tags=tags) as taken, scratch_folder() as folder:
        with best_heads(store, subject.winner) as heads:
            probabilities = np.stack([predict_mean(path, features) for path in heads])
        figures = _measure(probabilities[0], labels, recorded)
        baseline, test = None, None
        hits = probabilities.argmax(-1) == labels
        if subject.baseline is not None:
            with best_heads(store, subject.baseline, seeds=1) as heads:
                theirs = predict(heads[0], load_features(needed[-1])).argmax(-1) == labels
            baseline, test = float(theirs.mean()), mcnemar(hits[0], theirs)
        seeds = tuple(float(value) for value in hits.mean(-1))
        evaluation = Evaluation(taken.run_id, split, taken.number, figures, seeds, baseline, test, len(refs))
        _draw(evaluation, probabilities, ref, root=root, folder=folder, version=f"{subject.version}{mean}")
        params = {"split": split, "model": subject.version, "views": str(len(refs))}
        taken.record(evaluation.metrics(), params, folder)
    return evaluation


def read_evaluation(store: Store, run_id: str, recorded: RecordedStudy) -> Evaluation:
    """What an earlier look has shown, from its run alone: no other look; read-only.

    Raises:
      StoreError: The run, or what it kept, can't be read.
    """
    run = store.get_run(run_id)
    if run is None:
        raise StoreError(f"no evaluation run {run_id} in {store.uri}")
    try:
        with (
            artifacts(store, run_id, PREDICTIONS) as folder,
            (folder / PREDICTIONS).open("rb") as file,
            np.load(file) as arrays,
        ):
            probabilities, labels = arrays["probabilities"], arrays["labels"]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise StoreError(f"the predictions of evaluation run {run_id} can't be read: {error}") from error
    metrics = run.data.metrics
    test = None
    if "mcnemar_p" in metrics:
        alone = int(metrics["only_model_right"]), int(metrics["only_baseline_right"])
        test = PairedTest(*alone, metrics["mcnemar_p"])
    return Evaluation(
        run_id,
        run.data.tags[SPLIT],
        int(run.data.tags[LOOK]),
        _measure(probabilities[0], labels, recorded),
        tuple(float(value) for value in (probabilities.argmax(-1) == labels).mean(-1)),
        metrics.get("baseline_accuracy"),
        test,
        int(run.data.params.get("views", 1)),
    )


def _exact_key(recorded: RecordedStudy, trial: TrialRecord) -> FeatureKey:
    """The key of what a trial's heads take, by Keras in float32 whatever they were trained on."""
    return trial_key(recorded.card, recorded.keys, trial.values).exact


def _measure(probabilities: np.ndarray, labels: np.ndarray, recorded: RecordedStudy) -> Figures:
    counts, classes = recorded.manifest.counts()["train"], recorded.manifest.classes
    return measure(
        probabilities, labels, class_names=classes, train_counts=np.array([counts[name] for name in classes])
    )


def _require_photos(ref: FeatureRef, root: Path) -> None:
    missing = [path for path, _, _ in ref.photos if not (root / path).is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(ref.photos)} {ref.split} photos are not in {root}, such as {missing[0]}",
            expected="the photos that the model was made of",
            action="name their folder with --data",
        )


def _draw(
    evaluation: Evaluation, of_seeds: np.ndarray, ref: FeatureRef, *, root: Path, folder: Path, version: str
) -> None:
    """Figures, tables and predictions as files."""
    figures, labels, probabilities = evaluation.figures, ref.labels(), of_seeds[0]
    title = (
        f"{version} on {figures.num_images} {evaluation.split} photos:"
        f" accuracy {figures.accuracy:.4f} [{figures.low:.4f}, {figures.high:.4f}]"
    )
    draw_confusion(figures.confusion, ref.classes, title=title, target=folder / "confusion.png")
    draw_reliability(
        figures.bins, calibration_error=figures.calibration_error, title=title, target=folder / "reliability.png"
    )
    predicted = probabilities.argmax(-1)
    wrong = np.flatnonzero(predicted != labels)
    surest = sorted(wrong, key=lambda row: -probabilities[row, predicted[row]])[:NUM_MISTAKES]
    mistakes = [
        Mistake(
            root / ref.photos[row][0],
            ref.photos[row][2],
            ref.classes[predicted[row]],
            float(probabilities[row, predicted[row]]),
        )
        for row in surest
    ]
    draw_mistakes(mistakes, title=f"the surest of {len(wrong)} mistakes ({version})", target=folder / "mistakes.png")
    confusion = [[name, *row] for name, row in zip(ref.classes, figures.confusion.tolist(), strict=True)]
    write_text(folder / "confusion.csv", _csv([["true", *ref.classes], *confusion]), instead=SCRATCH)
    classes = [list(asdict(one).values()) for one in figures.classes]
    write_text(folder / "classes.csv", _csv([list(asdict(figures.classes[0])), *classes]), instead=SCRATCH)
    np.savez(
        folder / PREDICTIONS,
        probabilities=of_seeds,  # (seeds, photos, classes)
        labels=labels,
        paths=np.array([path for path, _, _ in ref.photos]),
    )


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
