"""Keras Tuner's own loop over the end-to-end model against our study, on the same images."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import keras_tuner

from fashion_tuning.config import parse_card
from fashion_tuning.data.source import Dataset, open_dataset
from fashion_tuning.model.weights import Weights
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.inputs import StudyInputs
from fashion_tuning.study.tune import tune
from fashion_tuning.tracking.store import Store

SIZES = {"train": 256, "validation": 64}
TRIALS, EPOCHS, IMAGE_SIZE = 4, 3, 150
FULL_TRIALS, FULL_EPOCHS = 20, 10

CARD = f"""
name = "bench"
seed = 1
[images]
image_size = {IMAGE_SIZE}
[training]
epochs = {EPOCHS}
[search]
tuner = "random"
max_trials = {TRIALS}
[space.learning_rate]
type = "float"
min_value = 1e-4
max_value = 1e-2
sampling = "log"
[space.dense_units]
type = "choice"
values = [0, 10, 100, 1000]
[space.dropout]
type = "float"
min_value = 0.0
max_value = 0.8
step = 0.1
"""


@dataclass(frozen=True)
class Loop:
    rows: list[tuple[str, str, str, str]]
    seconds_per_image: float


class EndToEnd(keras_tuner.RandomSearch):
    """Keras Tuner's loop as its guide shows it: build, fit, return the objective.

    Its stock `run_trial` imports tensorboard, which TensorFlow no longer brings.
    """

    def run_trial(self, trial, train, validation, **_):
        model = self.hypermodel.build(trial.hyperparameters)
        return -max(
            model.fit(train, validation_data=validation, epochs=EPOCHS, shuffle=False, verbose=0).history[
                "val_accuracy"
            ]
        )


def measure(dataset: Dataset, weights: Weights, scratch: Path) -> Loop:
    """Wall times of the same task; features are computed inside ours, imports are outside of both."""
    small = _subset(dataset, scratch / "photos")
    worker = Worker()
    try:
        list(worker.run(_warm))
        store = Store(f"sqlite:///{scratch / 'loop' / 'mlflow.db'}")
        inputs = StudyInputs(
            parse_card(CARD, name="bench"), CARD, small, {weights.name: weights}, scratch / "loop-cache"
        )
        started = time.perf_counter()
        tune(inputs, store, workers=[worker], max_trials=None, fresh=False, report=lambda _: None)
        ours = time.perf_counter() - started
    finally:
        worker.close()
    theirs = _keras_tuner_loop(small.root, weights, scratch)
    passes = TRIALS * EPOCHS * sum(SIZES.values())
    row = (
        f"study of {TRIALS} trials, 1 seed, {EPOCHS} epochs on {SIZES['train']} + {SIZES['validation']} images,"
        " features included",
        f"{ours:.1f} s",
        f"Keras Tuner's loop, end to end {theirs:.1f} s",
        f"{theirs / ours:.1f}",
    )
    return Loop([row], theirs / passes)


def project(
    counts: Mapping[str, int], *, loop_seconds_per_image: float, extraction_rate: float, one_seed_seconds: float
) -> list[tuple[str, str, str, str]]:
    """The full size from the measured parts: a projection, and called one."""
    images = counts["train"] + counts["validation"]
    theirs = FULL_TRIALS * FULL_EPOCHS * images * loop_seconds_per_image
    ours = images / extraction_rate + FULL_TRIALS * one_seed_seconds
    return [
        (
            f"projection: {FULL_TRIALS} trials, 1 seed, {FULL_EPOCHS} epochs on {images} images, features included",
            f"{ours:.0f} s",
            f"Keras Tuner's loop, end to end {theirs:.0f} s",
            f"{theirs / ours:.0f}",
        )
    ]


def _warm():
    yield None


def _subset(dataset: Dataset, folder: Path) -> Dataset:
    for split in ("train", "validation", "test"):
        photos = dataset.manifest.select(split)
        size = SIZES.get(split, 20)
        # Every n-th of the sorted list keeps the classes' shares; one of each class makes sure none is missing.
        first = {photo.label: photo for photo in photos}
        chosen = [*first.values(), *photos[:: max(1, len(photos) // size)]]
        for photo in list(dict.fromkeys(chosen))[:size]:
            target = folder / photo.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(dataset.path(photo), target)
    return open_dataset(folder, cache_dir=folder.parent / "verified")


def _keras_tuner_loop(root: Path, weights: Weights, scratch: Path) -> float:
    def build(hyperparameters: keras_tuner.HyperParameters) -> keras.Model:
        shape = (IMAGE_SIZE, IMAGE_SIZE, 3)
        base = keras.applications.Xception(include_top=False, weights=None, input_shape=shape, pooling="avg")
        base.load_weights(weights.path)
        base.trainable = False
        inputs = keras.Input(shape)
        outputs = base(keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs), training=False)
        units = hyperparameters.Choice("dense_units", [0, 10, 100, 1000])
        if units:
            outputs = keras.layers.Dense(units, activation="relu")(outputs)
        outputs = keras.layers.Dropout(hyperparameters.Float("dropout", 0.0, 0.8, step=0.1))(outputs)
        model = keras.Model(inputs, keras.layers.Dense(10)(outputs))
        rate = hyperparameters.Float("learning_rate", 1e-4, 1e-2, sampling="log")
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=keras.optimizers.Adam(rate), loss=loss, metrics=["accuracy"])
        return model

    # Decoded once and kept in memory: the loop's images never wait for the disk.
    train, validation = (
        keras.utils.image_dataset_from_directory(
            root / split,
            image_size=(IMAGE_SIZE, IMAGE_SIZE),
            batch_size=32,
            interpolation="nearest",
            seed=1,
            verbose=False,
        )
        .cache()
        .prefetch(2)
        for split in ("train", "validation")
    )
    for images in (train, validation):
        for _ in images:
            pass
    tuner = EndToEnd(build, max_trials=TRIALS, seed=1, directory=scratch / "keras-tuner", project_name="bench")
    started = time.perf_counter()
    tuner.search(train, validation, verbose=0)
    return time.perf_counter() - started
