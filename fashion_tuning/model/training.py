"""One trial: heads for all seeds trained from cached features, epoch by epoch.

It knows neither Keras Tuner nor MLflow: plain values go in, epoch results come out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fashion_tuning.files import SCRATCH, disk_errors
from fashion_tuning.hyperparameters import Value, setting
from fashion_tuning.model.features import FeatureRef, load_features
from fashion_tuning.model.head import build_head
from fashion_tuning.seeds import derive_seed

if TYPE_CHECKING:
    import keras

TRAINING_VERSION = 1  # counts up when the same card would train differently
# schedule = "plateau": after this many epochs without a better mean validation accuracy, the learning rate times this.
PLATEAU_EPOCHS = 2
PLATEAU_FACTOR = 0.5


class DivergedError(Exception):
    """A loss or a prediction stopped being a finite number."""


@dataclass(frozen=True)
class TrialSettings:
    """Everything a trial's result depends on, apart from the photos.

    Args:
      values: See `hyperparameters`.
      epochs: At most this many.
      num_seeds: Repetitions, trained together.
      study_seed: The card's seed.
      batch_size: Images per step, where `values` do not say.
      patience: Stop after this many epochs without a better mean validation accuracy.
    """

    values: Mapping[str, Value]
    epochs: int
    num_seeds: int
    study_seed: int
    batch_size: int
    patience: int | None = None


@dataclass(frozen=True)
class EpochResult:
    """What one epoch gave; arrays have one entry per seed.

    `probabilities` is (seeds, validation images, classes) float32. `checkpoints` maps a seed
    to the file just written for it. `seconds` tells training, validation and checkpoints apart.
    """

    epoch: int
    loss: np.ndarray
    accuracy: np.ndarray
    val_loss: np.ndarray
    val_accuracy: np.ndarray
    probabilities: np.ndarray
    checkpoints: Mapping[int, Path]
    seconds: Mapping[str, float]


def train_trial(
    settings: TrialSettings, train: FeatureRef, validation: FeatureRef, scratch: Path
) -> Iterator[EpochResult]:
    """Trains a trial and yields each epoch's result as soon as it is there.

    Writes checkpoints seed_K/epoch_NN.keras below `scratch` whenever the mean curve or that
    seed's own curve of validation accuracy improves; they hold the head alone (features in,
    logits out) and load with Keras's safe_mode. With ema_momentum, validation and checkpoints
    are of the averaged weights.

    Raises:
      DivergedError: A loss or a logit is not finite; nothing of that epoch is yielded.
      DataError: Features are missing or damaged.
      DiskError: A checkpoint can't be written.
    """
    from fashion_tuning.model.engine import HeadTrainer, forget_models

    forget_models()
    num_classes = len(train.classes)
    num_views = int(settings.values.get("views", len(train.every)))
    views = [load_features(one) for one in train.every[:num_views]]
    features = np.concatenate(views) if num_views > 1 else views[0]
    val_features = load_features(validation)
    labels, val_labels = train.labels(), validation.labels()
    seeds = range(1, settings.num_seeds + 1)
    heads = [
        build_head(
            settings.values,
            feature_size=features.shape[1],
            num_classes=num_classes,
            study_seed=settings.study_seed,
            seed=seed,
        )
        for seed in seeds
    ]
    trainer = HeadTrainer(
        heads,
        values=settings.values,
        features=features,
        labels=labels,
        batch_size=int(settings.values.get("batch_size", settings.batch_size)),
        epochs=settings.epochs,
    )
    best_mean, best_mean_epoch, lowered = -1.0, 0, 0
    plateau = setting("schedule", settings.values) == "plateau"
    best = np.full(len(heads), -1.0)
    for epoch in range(1, settings.epochs + 1):
        started = time.perf_counter()
        order = epoch_order(
            len(labels),
            study_seed=settings.study_seed,
            num_seeds=settings.num_seeds,
            epoch=epoch,
            num_views=num_views,
        )
        loss, accuracy = trainer.run_epoch(order)
        trained = time.perf_counter()
        with trainer.averaged():
            logits = trainer.predict(val_features)
            probabilities, val_loss = _score(logits, val_labels)
            _require_finite(epoch, {"loss": loss, "largest logit": np.abs(logits).max((1, 2)), "val_loss": val_loss})
            val_accuracy = (probabilities.argmax(-1) == val_labels).mean(-1)
            validated = time.perf_counter()
            mean_improved = val_accuracy.mean() > best_mean
            checkpoints = {
                seed: _save(head, scratch / f"seed_{seed}" / f"epoch_{epoch:02d}.keras")
                for seed, head, improved in zip(seeds, heads, val_accuracy > best, strict=True)
                if improved or mean_improved
            }
        best = np.maximum(best, val_accuracy)
        yield EpochResult(
            epoch=epoch,
            loss=loss,
            accuracy=accuracy,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            probabilities=probabilities,
            checkpoints=checkpoints,
            seconds={
                "training": trained - started,
                "validation": validated - trained,
                "checkpoints": time.perf_counter() - validated,
            },
        )
        if mean_improved:
            best_mean, best_mean_epoch = val_accuracy.mean(), epoch
        elif settings.patience and epoch - best_mean_epoch >= settings.patience:
            return
        if plateau and epoch - max(best_mean_epoch, lowered) >= PLATEAU_EPOCHS:
            trainer.lower_learning_rate(PLATEAU_FACTOR)
            lowered = epoch


def epoch_order(num_images: int, *, study_seed: int, num_seeds: int, epoch: int, num_views: int = 1) -> np.ndarray:
    """The rows of features in the order of one epoch, (num_seeds, num_images) int32.

    Per seed a permutation of the images, of each image one view drawn by itself; view v of image i is row
    v * num_images + i.
    """
    orders = []
    for seed in range(1, num_seeds + 1):
        images = np.random.default_rng(derive_seed(study_seed, seed, "order", epoch)).permutation(num_images)
        draws = np.random.default_rng(derive_seed(study_seed, seed, "views", epoch))
        orders.append(images + num_images * draws.integers(0, num_views, num_images))
    return np.stack(orders).astype(np.int32)


def _score(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class probabilities (float32) and each seed's mean cross-entropy in nats."""
    # A diverged head overflows here; that is found by _require_finite and needs no warning.
    with np.errstate(all="ignore"):
        shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
        log_probabilities = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    picked = log_probabilities[:, np.arange(len(labels)), labels]
    return np.exp(log_probabilities).astype(np.float32), -picked.mean(-1)


def _require_finite(epoch: int, values_by_name: Mapping[str, np.ndarray]) -> None:
    for name, values in values_by_name.items():
        if not np.isfinite(values).all():
            shown = ", ".join(f"seed {seed}: {value}" for seed, value in enumerate(values, 1))
            raise DivergedError(f"{name} is not finite in epoch {epoch} ({shown})")


def _save(head: keras.Model, path: Path) -> Path:
    temporary = path.with_name(f"unfinished-{path.name}")
    with disk_errors(path, instead=SCRATCH):  # a full disk is no property of the trial
        path.parent.mkdir(parents=True, exist_ok=True)
        head.save(temporary)
        return temporary.replace(path)
