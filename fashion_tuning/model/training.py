"""One trial: heads for all seeds trained from cached features, epoch by epoch.

It knows neither Keras Tuner nor MLflow: plain values go in, epoch results come out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fashion_tuning.files import SCRATCH, disk_errors
from fashion_tuning.hyperparameters import Value, setting
from fashion_tuning.model.epochs import EpochResult, checkpoint_name, last_state, write_state
from fashion_tuning.model.features import FeatureRef, load_features
from fashion_tuning.model.trainable import build_trainable, is_long
from fashion_tuning.model.weights import Weights
from fashion_tuning.seeds import derive_seed

if TYPE_CHECKING:
    import keras

    from fashion_tuning.model.engine.heads import Heads
    from fashion_tuning.model.engine.suffix import SuffixTrainer

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


def train_trial(
    settings: TrialSettings,
    train: FeatureRef,
    validation: FeatureRef,
    scratch: Path,
    weights: Weights | None = None,
    targets: np.ndarray | None = None,
) -> Iterator[EpochResult]:
    """Trains a trial and yields each epoch's result as soon as it is there.

    Writes checkpoints seed_K/epoch_NN.keras below `scratch` whenever the mean curve or that
    seed's own curve of validation accuracy improves; they hold what trains alone (features in,
    logits out) and load with Keras's safe_mode. Where `validation` has views, probabilities are
    means over them. With ema_momentum, validation and checkpoints are of the averaged weights.
    Behind a cut, which is long, also resume/epoch_NN.npz, from which another process goes on
    after that epoch: where one stands below `scratch` with the checkpoints of its epochs, their
    results are yielded again, and the rest is as if nothing had stopped.

    Args:
      weights: The backbone's, needed behind a cut alone.
      targets: (views, images, classes) float32, a teacher's probabilities of the photos to train on and of their
        views, needed by distillation alone.

    Raises:
      DivergedError: A loss or a logit is not finite; nothing of that epoch is yielded.
      DataError: Features are missing or damaged.
      DiskError: A checkpoint can't be written.
    """
    from fashion_tuning.model.engine import forget_models
    from fashion_tuning.model.engine.suffix import SuffixTrainer

    forget_models()
    trainer = _make_trainer(settings, train, weights, targets)
    val_views = [load_features(one) for one in validation.every]
    num_images, val_labels = len(train.photos), validation.labels()
    num_views = int(settings.values.get("views", len(train.every)))
    seeds = range(1, settings.num_seeds + 1)
    watch = _Watch(settings)
    past: list[EpochResult] = []
    if isinstance(trainer, SuffixTrainer) and (found := last_state(scratch)) and trainer.fits(found[1]):
        past, state = found
        trainer.restore(state)
        for result in past:
            yield result
            watch.look(result.epoch, result.val_accuracy)
    for epoch in range(len(past) + 1, settings.epochs + 1):
        if watch.stops:
            return
        started = time.perf_counter()
        order = epoch_order(
            num_images,
            study_seed=settings.study_seed,
            num_seeds=settings.num_seeds,
            epoch=epoch,
            num_views=num_views,
        )
        shares = epoch_shares(
            num_images, settings.values, study_seed=settings.study_seed, num_seeds=settings.num_seeds, epoch=epoch
        )
        loss, accuracy = trainer.run_epoch(order, epoch, shares)
        trained = time.perf_counter()
        with trainer.averaged():
            logits = np.stack([trainer.predict(features) for features in val_views])
            probabilities, val_loss = _score(logits, val_labels)
            _require_finite(epoch, {"loss": loss, "largest logit": np.abs(logits).max((0, 2, 3)), "val_loss": val_loss})
            val_accuracy = (probabilities.argmax(-1) == val_labels).mean(-1)
            validated = time.perf_counter()
            improved = watch.look(epoch, val_accuracy)
            checkpoints = {
                seed: _save(head, scratch / checkpoint_name(seed, epoch))
                for seed, head, better in zip(seeds, trainer.heads, improved, strict=True)
                if better
            }
        if watch.lowers:
            trainer.lower_learning_rate(PLATEAU_FACTOR)
        result = EpochResult(
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
        if isinstance(trainer, SuffixTrainer) and epoch < settings.epochs and not watch.stops:
            past.append(result)
            result = replace(result, state=write_state(scratch, past, trainer.state()))
        yield result


class _Watch:
    """Early stopping's and the plateau's memory: how validation accuracy has gone so far."""

    def __init__(self, settings: TrialSettings) -> None:
        self.stops = False  # before another epoch
        self.lowers = False  # the learning rate, after the epoch that was looked at last
        self._patience = settings.patience
        self._plateau = setting("schedule", settings.values) == "plateau"
        self._best = np.full(settings.num_seeds, -1.0)
        self._best_mean, self._best_mean_epoch, self._lowered = -1.0, 0, 0

    def look(self, epoch: int, val_accuracy: np.ndarray) -> np.ndarray:
        """For each seed whether its checkpoint is kept: its own curve or the mean curve is better than ever."""
        mean = float(val_accuracy.mean())
        mean_improved = mean > self._best_mean
        improved = (val_accuracy > self._best) | mean_improved
        self._best = np.maximum(self._best, val_accuracy)
        if mean_improved:
            self._best_mean, self._best_mean_epoch = mean, epoch
        elif self._patience:
            self.stops = epoch - self._best_mean_epoch >= self._patience
        self.lowers = self._plateau and epoch - max(self._best_mean_epoch, self._lowered) >= PLATEAU_EPOCHS
        if self.lowers:
            self._lowered = epoch
        return improved


def _make_trainer(
    settings: TrialSettings, train: FeatureRef, weights: Weights | None, targets: np.ndarray | None
) -> Heads | SuffixTrainer:
    from fashion_tuning.model import engine

    values = settings.values
    num_views = int(values.get("views", len(train.every)))
    views = [load_features(one) for one in train.every[:num_views]]
    seeds = range(1, settings.num_seeds + 1)
    heads = [build_trainable(values, train, weights, study_seed=settings.study_seed, seed=seed) for seed in seeds]
    batch_size = int(values.get("batch_size", settings.batch_size))
    taught = None
    if float(setting("distillation", values)):
        if targets is None:
            raise ValueError("distillation without a teacher's targets")
        taught = np.concatenate(targets[:num_views])
    if is_long(train):
        return engine.SuffixTrainer(
            heads,
            values=values,
            views=views,
            labels=train.labels(),
            targets=taught,
            batch_size=batch_size,
            epochs=settings.epochs,
        )
    return engine.HeadTrainer(
        heads,
        values=values,
        features=np.concatenate(views) if num_views > 1 else views[0],
        labels=train.labels(),
        targets=taught,
        batch_size=batch_size,
        epochs=settings.epochs,
    )


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


def epoch_shares(
    num_images: int, values: Mapping[str, Value], *, study_seed: int, num_seeds: int, epoch: int
) -> np.ndarray | None:
    """By which share each image of an epoch's order stays itself, (num_seeds, num_images) float32; None for wholly.

    From Beta(mixup, mixup), at least a half, so that a blend has the label of its own image.
    """
    if not (concentration := float(setting("mixup", values))):
        return None
    draws = [
        np.random.default_rng(derive_seed(study_seed, seed, "mixup", epoch)).beta(
            concentration, concentration, num_images
        )
        for seed in range(1, num_seeds + 1)
    ]
    return np.maximum(draws, 1 - np.array(draws)).astype(np.float32)


def _score(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class probabilities (float32), means over views, and each seed's mean cross-entropy of them in nats.

    Args:
      logits: (views, seeds, images, classes).
    """
    # A diverged head overflows here; that is found by _require_finite and needs no warning.
    with np.errstate(all="ignore"):
        shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
        of_views = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        log_probabilities = np.logaddexp.reduce(of_views, axis=0) - np.log(len(logits))
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
