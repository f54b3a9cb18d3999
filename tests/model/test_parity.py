"""What makes the shortcut honest: training from cached features is training the whole network end to end."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest

from fashion_tuning.data.decode import Sizing, decode
from fashion_tuning.data.drawn import draw_dataset
from fashion_tuning.data.manifest import Manifest, Photo
from fashion_tuning.model.epochs import EpochResult
from fashion_tuning.model.features import FeatureRef, compute_features, feature_ref, load_features
from fashion_tuning.model.head import build_head
from fashion_tuning.model.key import FeatureKey, keras_engine
from fashion_tuning.model.training import TrialSettings, epoch_order, train_trial
from fashion_tuning.model.weights import Weights

NUM_IMAGES = {"train": 160, "validation": 40}
SETTINGS = TrialSettings(
    values={"learning_rate": 0.001, "dense_units": 100, "dropout": 0.2},
    epochs=2,
    num_seeds=2,
    study_seed=1,
    batch_size=32,
)


@dataclass(frozen=True)
class Trial:
    """A trial from the cache, and the pixels and labels to do the same without it."""

    image_size: int
    refs: dict[str, FeatureRef]
    pixels: dict[str, np.ndarray]
    results: list[EpochResult]
    weights: Weights

    def network(self, seed: int | None = None) -> keras.Model:
        """Image in, logits out, or pooled features without a seed; built from Keras alone but for the fresh head."""
        base = keras.applications.Xception(
            include_top=False, weights=None, input_shape=(self.image_size, self.image_size, 3)
        )
        base.load_weights(self.weights.path)
        base.trainable = False
        images = keras.Input((self.image_size, self.image_size, 3))
        outputs = keras.layers.Rescaling(1 / 127.5, offset=-1)(images)
        outputs = keras.layers.GlobalAveragePooling2D()(base(outputs, training=False))
        if seed is not None:
            head = build_head(
                SETTINGS.values, feature_size=2048, num_classes=10, study_seed=SETTINGS.study_seed, seed=seed
            )
            outputs = head(outputs)
        return keras.Model(images, outputs)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("drawn", 71), id="drawn-71"),
        pytest.param(
            ("photos", 150),
            id="photos-150",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif("FASHION_TUNING_DATA" not in os.environ, reason="needs the photos"),
            ],
        ),
    ],
)
def trial(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, weights: Weights) -> Trial:
    source, image_size = request.param
    scratch = tmp_path_factory.mktemp("parity")
    if source == "drawn":
        root = scratch / "garments"
        draw_dataset(root, per_class={split: count // 10 for split, count in NUM_IMAGES.items()})
    else:
        root = Path(os.environ["FASHION_TUNING_DATA"])
    manifest = Manifest(tuple(photo for split in NUM_IMAGES for photo in some_photos(root, split)))
    key = FeatureKey(
        manifest=manifest.digest,
        image_size=image_size,
        interpolation="bilinear",
        preprocessing="tf",
        backbone="xception",
        weights=weights.digest,
        cut="avg_pool",
        engine=keras_engine(),
    )
    refs = {split: feature_ref(key, split, manifest=manifest, cache_dir=scratch) for split in NUM_IMAGES}
    pixels = {}
    for split, ref in refs.items():
        for _ in compute_features(ref, root=root, weights=weights):
            pass
        pixels[split] = np.stack([decode(root / path, Sizing(image_size, "bilinear")) for path, _, _ in ref.photos])
    results = list(train_trial(SETTINGS, refs["train"], refs["validation"], scratch / "checkpoints"))
    return Trial(image_size, refs, pixels, results, weights)


def some_photos(root: Path, split: str) -> list[Photo]:
    """The first photos of each class, as many as NUM_IMAGES says."""
    return [
        Photo(str(path.relative_to(root)), hashlib.sha256(path.read_bytes()).hexdigest(), folder.name, split)
        for folder in sorted((root / split).iterdir())
        for path in sorted(folder.iterdir())[: NUM_IMAGES[split] // 10]
    ]


def test_cached_features_are_the_network_s_pooled_output(trial: Trial) -> None:
    network = trial.network()
    for split, ref in trial.refs.items():
        assert len(ref.photos) == NUM_IMAGES[split]
        # Every fourth image, so that none stands where it stood in the cache's batches: that must not matter.
        pooled = network.predict_on_batch(trial.pixels[split][::4])
        np.testing.assert_allclose(load_features(ref)[::4], pooled, rtol=0, atol=1e-4)


@pytest.mark.parametrize("seed", [2, pytest.param(1, marks=pytest.mark.slow)])
def test_trial_from_the_cache_is_keras_training_of_the_whole_network(trial: Trial, seed: int) -> None:
    """One seed alone, end to end, against the trial in which both were trained together."""
    network = trial.network(seed)
    network.compile(
        keras.optimizers.Adam(SETTINGS.values["learning_rate"]),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    assert len(network.trainable_variables) == 4  # kernel and bias of two layers: the base is frozen
    labels = trial.refs["train"].labels()
    features = np.array(load_features(trial.refs["validation"]))
    for result in trial.results:
        order = epoch_order(len(labels), study_seed=SETTINGS.study_seed, num_seeds=seed, epoch=result.epoch)[seed - 1]
        for start in range(0, len(order), SETTINGS.batch_size):
            batch = order[start : start + SETTINGS.batch_size]
            network.train_on_batch(trial.pixels["train"][batch], labels[batch])
        logits = network.predict_on_batch(trial.pixels["validation"])
        probabilities = result.probabilities[seed - 1]
        np.testing.assert_array_equal(probabilities.argmax(-1), logits.argmax(-1))
        np.testing.assert_allclose(probabilities, keras.ops.softmax(logits), rtol=0, atol=1e-4)
        head = keras.saving.load_model(result.checkpoints[seed], safe_mode=True)  # both epochs improve here
        np.testing.assert_allclose(head.predict_on_batch(features), logits, rtol=0, atol=1e-3)
    assert len(trial.results) == 2
    assert len(np.unique(logits.argmax(-1))) > 5  # it has learnt to tell classes apart
