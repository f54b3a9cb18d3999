"""Training from a cut of the network: the same as training end to end, and the same after a stop."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pytest
from small_features import draw_photos, make_key

from fashion_tuning.backbones import POOLED, row_shape
from fashion_tuning.data.decode import Sizing, decode
from fashion_tuning.hyperparameters import Value
from fashion_tuning.model.checkpoint import predict
from fashion_tuning.model.epochs import RESUME, EpochResult, last_state
from fashion_tuning.model.features import FeatureRef, compute_features, feature_ref, load_features
from fashion_tuning.model.head import build_head
from fashion_tuning.model.network import build_between, build_prefix, build_suffix
from fashion_tuning.model.trainable import build_trainable, count_parameters, is_long, multiplications
from fashion_tuning.model.training import TrialSettings, epoch_order, epoch_shares, train_trial
from fashion_tuning.model.weights import Weights

SIZE = 71
CUT = "block14"
PLAIN: dict[str, Value] = {"learning_rate": 0.0003, "dense_units": 0, "dropout": 0.5, "cut": CUT}
SGD: dict[str, Value] = {**PLAIN, "learning_rate": 0.01, "optimizer": "sgd"}
RICH: dict[str, Value] = {
    **PLAIN,
    "dense_units": 16,
    "label_smoothing": 0.1,
    "optimizer": "adamw",
    "weight_decay": 0.01,
    "schedule": "cosine",
    "warmup_epochs": 1,
    "ema_momentum": 0.9,
    "pooling": "both",
}
SETTINGS = TrialSettings(values=PLAIN, epochs=3, num_seeds=2, study_seed=1, batch_size=16)


@dataclass(frozen=True)
class Photos:
    root: Path
    cache: Path
    manifest: object
    weights: Weights

    def refs(self, *, cut: str = CUT, cache: Path | None = None, **changes: object) -> dict[str, FeatureRef]:
        """Features at a cut, computed where they are missing."""
        key = make_key(manifest=self.manifest.digest, weights=self.weights.digest, cut=cut, **changes)
        refs = {
            split: feature_ref(key, split, manifest=self.manifest, cache_dir=cache or self.cache)
            for split in ("train", "validation")
        }
        for ref in refs.values():
            for _ in compute_features(ref, root=self.root, weights=self.weights):
                pass
        return refs

    def pixels(self, split: str) -> np.ndarray:
        return np.stack([decode(self.root / photo.path, Sizing(SIZE)) for photo in self.manifest.select(split)])

    def train(self, settings: TrialSettings, scratch: Path, refs: dict[str, FeatureRef] | None = None):
        refs = refs or self.refs()
        return train_trial(settings, refs["train"], refs["validation"], scratch, self.weights, self.targets)

    @property
    def targets(self) -> np.ndarray:
        """What a teacher might say of the photos to train on, (views, images, classes)."""
        return np.random.default_rng(6).dirichlet(np.ones(3), (1, 40)).astype(np.float32)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, weights: Weights) -> Photos:
    root, cache = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("cache")
    return Photos(root, cache, draw_photos(root, {"train": 40, "validation": 12}), weights)


def _is_normal(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization)


@pytest.mark.slow
def test_prefix_and_suffix_make_up_the_network(weights: Weights) -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    whole = build_prefix(weights, image_size=SIZE).predict_on_batch(images)
    for cut in ("block14", "block5"):
        maps = build_prefix(weights, image_size=SIZE, cut=cut).predict_on_batch(images)
        assert maps.shape == (3, *row_shape("xception", cut, SIZE))
        suffix = build_suffix(weights, image_size=SIZE, cut=cut)
        np.testing.assert_allclose(suffix.predict_on_batch(maps).mean((1, 2)), whole, atol=1e-4)
        between = build_between(weights, image_size=SIZE, start=cut, cut="avg_pool")
        np.testing.assert_allclose(between.predict_on_batch(maps), whole, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("cut", ["block14", *POOLED])
def test_features_made_of_an_earlier_cut_are_those_of_the_photos_in_every_bit(
    photos: Photos, tmp_path: Path, cut: str
) -> None:
    from_photos = photos.refs(cut=cut, cache=tmp_path / "photos")
    photos.refs(cut="block13", cache=tmp_path / "maps")
    moved = replace(photos, root=tmp_path / "none")  # a photo that is read would be missed
    from_maps = moved.refs(cut=cut, cache=tmp_path / "maps")
    for split, ref in from_photos.items():
        np.testing.assert_array_equal(load_features(ref), load_features(from_maps[split]))


@pytest.mark.slow
def test_reduced_features_are_not_gone_on_from(photos: Photos, tmp_path: Path) -> None:
    photos.refs(cut="block13", cache=tmp_path, storage="float16")
    exact = photos.refs(cut="block14", cache=tmp_path)
    np.testing.assert_array_equal(load_features(exact["train"]), load_features(photos.refs()["train"]))


@pytest.mark.slow
def test_storage_in_float16_halves_the_disk_and_changes_little(photos: Photos, tmp_path: Path) -> None:
    exact, reduced = photos.refs(), photos.refs(storage="float16")
    assert reduced["train"].array.num_bytes * 2 == exact["train"].array.num_bytes
    assert load_features(reduced["train"]).dtype == np.float16
    np.testing.assert_allclose(load_features(reduced["train"]), load_features(exact["train"]), rtol=1e-3, atol=1e-4)
    settings = replace(SETTINGS, epochs=1, num_seeds=1)
    ours, theirs = (list(photos.train(settings, tmp_path / str(n), refs)) for n, refs in enumerate((exact, reduced)))
    np.testing.assert_allclose(ours[0].probabilities, theirs[0].probabilities, atol=0.01)
    assert predict(theirs[0].checkpoints[1], load_features(reduced["validation"])).shape == (12, 3)


@pytest.mark.parametrize("batch_norm", ["frozen", pytest.param("trained", marks=pytest.mark.slow)])
def test_parameters_are_counted_as_keras_counts_them(photos: Photos, weights: Weights, batch_norm: str) -> None:
    values = {**RICH, "batch_norm": batch_norm}
    ref = photos.refs()["train"]
    model = build_trainable(values, ref, weights, study_seed=1, seed=1)
    counted = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    assert count_parameters(values, ref) == counted
    assert is_long(ref)
    assert multiplications(ref) == 4_741_632 * 3 * 3


# Adam's first steps have one length whatever the gradient: where that is a rounding error, so is their direction.
@pytest.mark.parametrize(
    ("values", "tolerance"),
    [
        pytest.param(SGD, 2e-5, id="sgd"),
        pytest.param(RICH, 2e-3, id="rich", marks=pytest.mark.slow),
        pytest.param(
            {**SGD, "learning_rate": 0.001, "batch_norm": "trained"}, 1e-4, id="batch-norm", marks=pytest.mark.slow
        ),
        pytest.param(PLAIN, 2e-3, id="adam", marks=pytest.mark.slow),
    ],
)
def test_training_from_the_cut_is_keras_training_of_the_whole_network(
    photos: Photos, tmp_path: Path, values: Mapping[str, Value], tolerance: float
) -> None:
    """One seed end to end, its layers before the cut frozen, against the trial that knows the cut's maps alone."""
    seed, settings = 2, replace(SETTINGS, values=values)
    results = list(photos.train(settings, tmp_path))
    network, optimizer = whole_network(values, photos.weights, seed=seed, steps=3, epochs=settings.epochs)
    smoothing = float(values.get("label_smoothing", 0))
    network.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing))
    refs = photos.refs()
    labels = keras.ops.one_hot(refs["train"].labels(), 3).numpy()
    pixels, num_images = photos.pixels("train"), len(labels)
    for result in results:
        order = epoch_order(num_images, study_seed=1, num_seeds=seed, epoch=result.epoch)[seed - 1]
        for start in range(0, num_images, settings.batch_size):
            batch = order[start : start + settings.batch_size]
            network.train_on_batch(pixels[batch], labels[batch])
        trained = network.get_weights()
        if optimizer.use_ema:
            optimizer.finalize_variable_values(network.trainable_variables)
        expected = keras.ops.softmax(network.predict_on_batch(photos.pixels("validation")))
        network.set_weights(trained)
        np.testing.assert_allclose(result.probabilities[seed - 1], expected, rtol=0, atol=tolerance)
    assert len(results) == settings.epochs
    best = max(results, key=lambda one: one.val_accuracy.mean())
    kept = predict(best.checkpoints[seed], load_features(refs["validation"]))
    np.testing.assert_allclose(kept, best.probabilities[seed - 1], atol=1e-5)


def whole_network(
    values: Mapping[str, Value], weights: Weights, *, seed: int, steps: int, epochs: int
) -> tuple[keras.Model, keras.optimizers.Optimizer]:
    """Image in, logits out, in Keras alone but for the fresh head; frozen before the cut."""
    base = keras.applications.Xception(include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    base.load_weights(weights.path)
    behind = {layer.name for layer in keras.Model(base.get_layer("block14_sepconv1").input, base.output).layers}
    for layer in base.layers:
        layer.trainable = layer.name in behind and (values.get("batch_norm") == "trained" or not _is_normal(layer))
    images = keras.Input((SIZE, SIZE, 3))
    maps = base(keras.layers.Rescaling(1 / 127.5, offset=-1)(images))
    pooled = keras.layers.GlobalAveragePooling2D()(maps)
    if "pooling" in values:
        pooled = keras.layers.Concatenate()([pooled, keras.layers.GlobalMaxPooling2D()(maps)])
    head = build_head(values, feature_size=pooled.shape[-1], num_classes=3, study_seed=1, seed=seed)
    rate = float(values["learning_rate"])
    if values.get("optimizer") == "sgd":
        return keras.Model(images, head(pooled)), keras.optimizers.SGD(rate, momentum=0.9)
    if values.get("schedule") != "cosine":
        return keras.Model(images, head(pooled)), keras.optimizers.Adam(rate)
    schedule = keras.optimizers.schedules.CosineDecay(0.0, steps * (epochs - 1), warmup_target=rate, warmup_steps=steps)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=values["weight_decay"], use_ema=True, ema_momentum=0.9)
    return keras.Model(images, head(pooled)), optimizer


@pytest.mark.parametrize("distillation", [pytest.param(0.0, marks=pytest.mark.slow), 0.7])
def test_mixup_behind_a_cut_is_keras_training_on_blended_maps(
    photos: Photos, tmp_path: Path, distillation: float
) -> None:
    values = {**SGD, "mixup": 0.4, "distillation": distillation}
    settings = replace(SETTINGS, values=values, num_seeds=1, epochs=1)
    (result,) = photos.train(settings, tmp_path)
    refs = photos.refs()
    model = build_trainable(settings.values, refs["train"], photos.weights, study_seed=1, seed=1)
    optimizer = keras.optimizers.SGD(settings.values["learning_rate"], momentum=0.9)
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True))
    maps, labels = load_features(refs["train"]), keras.ops.one_hot(refs["train"].labels(), 3).numpy()
    labels = (1 - distillation) * labels + distillation * photos.targets[0]
    (order,) = epoch_order(len(labels), study_seed=1, num_seeds=1, epoch=1)
    (shares,) = epoch_shares(len(labels), settings.values, study_seed=1, num_seeds=1, epoch=1)
    for start in range(0, len(labels), settings.batch_size):
        own, share = order[start : start + settings.batch_size], shares[start : start + settings.batch_size]
        before = np.roll(own, 1)
        blended = share[:, None, None, None] * maps[own] + (1 - share)[:, None, None, None] * maps[before]
        model.train_on_batch(blended, share[:, None] * labels[own] + (1 - share)[:, None] * labels[before])
    expected = keras.ops.softmax(model.predict_on_batch(load_features(refs["validation"])))
    np.testing.assert_allclose(result.probabilities[0], expected, rtol=0, atol=2e-5)


@pytest.mark.slow
def test_the_head_is_trained_alone_for_as_many_epochs_as_asked(photos: Photos, tmp_path: Path) -> None:
    values = {**PLAIN, "head_epochs": 2, "suffix_factor": 0.1}
    before = build_suffix(photos.weights, image_size=SIZE, cut=CUT).get_weights()
    changed, losses = [], []
    for scale in (1.0, 0.1):
        settings = replace(SETTINGS, values={**values, "suffix_factor": scale}, num_seeds=1)
        scratch = tmp_path / str(scale)
        changed.append([])
        losses.append([])
        for result in photos.train(settings, scratch):
            losses[-1].append(result.loss[0])
            if result.state is not None:
                last = np.load(result.state)
                model = build_trainable(values, photos.refs()["train"], photos.weights, study_seed=1, seed=1)
                for place, variable in enumerate(model.variables):
                    variable.assign(last[f"variable_{place}"])
                after = model.get_layer("suffix").get_weights()
                changed[-1].append(any(not np.array_equal(*pair) for pair in zip(before, after, strict=True)))
    assert changed == [[False, False], [False, False]]
    assert losses[0][:2] == losses[1][:2]  # the suffix's learning rate does not matter yet
    assert losses[0][2] != losses[1][2]


@pytest.mark.slow
def test_a_smaller_factor_moves_the_suffix_less(photos: Photos, tmp_path: Path) -> None:
    before = build_suffix(photos.weights, image_size=SIZE, cut=CUT).get_weights()
    moved = []
    for factor in (1.0, 0.1):
        settings = replace(SETTINGS, values={**PLAIN, "suffix_factor": factor}, num_seeds=1, epochs=1)
        (result,) = photos.train(settings, tmp_path / str(factor))
        after = keras.saving.load_model(result.checkpoints[1], safe_mode=True).get_layer("suffix").get_weights()
        moved.append(sum(np.abs(one - other).sum() for one, other in zip(before, after, strict=True)))
    assert 0 < moved[1] < 0.2 * moved[0]


@pytest.mark.parametrize(
    ("values", "stopped_after", "num_seeds"),
    [
        pytest.param({**RICH, "mixup": 0.4, "distillation": 0.5}, 2, 1, id="mixup and distillation"),
        pytest.param(RICH, 1, 2, id="rich-1", marks=pytest.mark.slow),
        pytest.param(RICH, 2, 2, id="rich-2", marks=pytest.mark.slow),
        pytest.param(RICH, 3, 2, id="rich-3", marks=pytest.mark.slow),
        pytest.param({**PLAIN, "schedule": "plateau", "head_epochs": 1}, 2, 2, id="plateau", marks=pytest.mark.slow),
    ],
)
def test_after_a_stop_it_goes_on_as_if_there_had_been_none(
    photos: Photos, tmp_path: Path, values: Mapping[str, Value], stopped_after: int, num_seeds: int
) -> None:
    settings = replace(SETTINGS, values=values, epochs=4, patience=2, num_seeds=num_seeds)
    unbroken = list(photos.train(settings, tmp_path / "unbroken"))
    first = photos.train(settings, tmp_path / "first")
    for _ in range(min(stopped_after, len(unbroken) - 1)):
        stopped = next(first)
    first.close()
    assert stopped.state == tmp_path / "first" / RESUME / f"epoch_{stopped.epoch:02d}.npz"
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    resumed = list(photos.train(settings, tmp_path / "second"))
    assert_same(resumed, unbroken)


@pytest.mark.slow
def test_a_learning_rate_that_was_halved_stays_halved_after_a_stop(photos: Photos, tmp_path: Path) -> None:
    """So small a rate moves no answer, so the plateau begins with the first epoch."""
    values = {**PLAIN, "learning_rate": 1e-7, "schedule": "plateau"}
    settings = replace(SETTINGS, values=values, epochs=6, num_seeds=1)
    unbroken = list(photos.train(settings, tmp_path / "unbroken"))
    first = photos.train(settings, tmp_path / "first")
    rates = []
    for _ in range(4):
        state = np.load(next(first).state)  # type: ignore[arg-type]
        scalars = [float(state[name]) for name in state.files if state[name].shape == ()]
        rates.append([rate for rate in (1e-7, 5e-8) if np.isclose(scalars, rate, rtol=1e-3, atol=0).any()])
    first.close()
    assert rates == [[1e-7], [1e-7], [5e-8], [5e-8]]
    assert_same(list(photos.train(settings, tmp_path / "first")), unbroken)


def assert_same(ours: list[EpochResult], theirs: list[EpochResult]) -> None:
    """Every number of every epoch, in every bit, and what the checkpoints answer."""
    assert [one.epoch for one in ours] == [one.epoch for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "probabilities"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=f"{name} {one.epoch}")
        assert one.checkpoints.keys() == other.checkpoints.keys()
        for seed, path in one.checkpoints.items():
            first, second = (keras.saving.load_model(each) for each in (path, other.checkpoints[seed]))
            for weight, same in zip(first.get_weights(), second.get_weights(), strict=True):
                np.testing.assert_array_equal(weight, same)


def test_a_damaged_state_or_one_without_its_checkpoints_is_passed_over(photos: Photos, tmp_path: Path) -> None:
    running = photos.train(replace(SETTINGS, num_seeds=1, epochs=4), tmp_path)
    first, second, third = next(running), next(running), next(running)
    running.close()
    assert len(last_state(tmp_path)[0]) == 3
    third.state.write_bytes(third.state.read_bytes()[:-5000])
    assert len(last_state(tmp_path)[0]) == 2
    second.state.write_bytes(b"")
    assert len(last_state(tmp_path)[0]) == 1
    first.checkpoints[1].unlink()
    assert last_state(tmp_path) is None
