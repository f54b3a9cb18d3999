"""Trials on made-up features: quick, and as small as the rules they show."""

import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from small_features import write_features

from fashion_tuning.errors import DataError, DiskError
from fashion_tuning.model import engine
from fashion_tuning.model.features import FeatureRef
from fashion_tuning.model.head import build_head
from fashion_tuning.model.training import DivergedError, EpochResult, TrialSettings, epoch_order, train_trial

SIZE, CLASSES = 16, 4
SETTINGS = TrialSettings(
    values={"learning_rate": 0.01, "dense_units": 8, "dropout": 0.3},
    epochs=4,
    num_seeds=3,
    study_seed=1,
    batch_size=32,
)
CURVES = ("loss", "accuracy", "val_loss", "val_accuracy", "probabilities")


@pytest.fixture(scope="module")
def refs(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureRef, FeatureRef]:
    """Train and validation features of four overlapping classes; 100 images make batches of 32, 32, 32 and 4."""
    return make_refs(tmp_path_factory.mktemp("features"), noise=1.5)


def make_refs(folder: Path, *, noise: float, scale: float = 1.0) -> tuple[FeatureRef, FeatureRef]:
    random = np.random.default_rng(5)
    centres = random.normal(size=(CLASSES, SIZE))

    def ref(split: str, count: int) -> FeatureRef:
        labels = random.permutation(np.arange(count) % CLASSES)
        features = centres[labels] + noise * random.normal(size=(count, SIZE))
        return write_features(folder, split, (features * scale).astype(np.float32), labels)

    return ref("train", 100), ref("validation", 60)


def train(refs: tuple[FeatureRef, FeatureRef], scratch: Path, settings: TrialSettings = SETTINGS) -> list[EpochResult]:
    return list(train_trial(settings, *refs, scratch))


def with_values(settings: TrialSettings = SETTINGS, **values: float) -> TrialSettings:
    return replace(settings, values={**settings.values, **values})


def assert_same(one: list[EpochResult], other: list[EpochResult]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.epoch == b.epoch
        assert sorted(a.checkpoints) == sorted(b.checkpoints)
        for name in CURVES:
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=f"{name}, epoch {a.epoch}")


def test_epochs_come_one_by_one_with_an_entry_for_each_seed(refs: tuple[FeatureRef, FeatureRef], tmp_path: Path) -> None:
    running = train_trial(SETTINGS, *refs, tmp_path)
    assert isinstance(running, Iterator)
    for epoch in range(1, 5):
        result = next(running)
        assert result.epoch == epoch
        for name in CURVES[:4]:
            assert getattr(result, name).shape == (3,)
        assert result.probabilities.shape == (3, 60, CLASSES)
        assert result.probabilities.dtype == np.float32
        np.testing.assert_allclose(result.probabilities.sum(-1), 1, atol=1e-6)
        right = result.probabilities.argmax(-1) == refs[1].labels()
        np.testing.assert_array_equal(result.val_accuracy, right.mean(-1))
        assert set(result.seconds) == {"training", "validation", "checkpoints"}
        assert not (tmp_path / "seed_1" / f"epoch_{epoch + 1:02d}.keras").exists()
    with pytest.raises(StopIteration):
        next(running)
    assert result.loss.mean() < np.log(CLASSES)  # it learns
    assert result.val_accuracy.mean() > 0.5


def test_same_settings_give_the_same_bits_whatever_ran_in_between(
    refs: tuple[FeatureRef, FeatureRef], tmp_path: Path
) -> None:
    first = train(refs, tmp_path / "first")
    assert_same(first, train(refs, tmp_path / "second"))
    train(refs, tmp_path / "other", replace(with_values(dense_units=0), study_seed=2, num_seeds=1))
    assert_same(first, train(refs, tmp_path / "third"))


def test_seeds_do_not_feel_each_other(refs: tuple[FeatureRef, FeatureRef], tmp_path: Path) -> None:
    together = train(refs, tmp_path / "three")
    alone = train(refs, tmp_path / "one", replace(SETTINGS, num_seeds=1))
    for three, one in zip(together, alone, strict=True):
        for name in CURVES:
            np.testing.assert_allclose(getattr(three, name)[:1], getattr(one, name), rtol=1e-5, err_msg=name)
        assert len(set(three.loss)) == 3  # and each goes its own way


def test_another_study_seed_trains_otherwise(refs: tuple[FeatureRef, FeatureRef], tmp_path: Path) -> None:
    one, other = (
        train(refs, tmp_path / str(seed), replace(SETTINGS, epochs=1, study_seed=seed))[0].loss for seed in (1, 2)
    )
    assert not np.isclose(one, other).any()


def test_training_is_that_of_plain_keras_with_the_last_short_batch(
    refs: tuple[FeatureRef, FeatureRef], tmp_path: Path
) -> None:
    results = train(refs, tmp_path)
    features, labels = np.array(refs[0].array.load()), refs[0].labels()
    for seed in (1, 2, 3):
        head = build_head(SETTINGS.values, feature_size=SIZE, num_classes=CLASSES, study_seed=1, seed=seed)
        head.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        for result in results:
            order = epoch_order(100, study_seed=1, num_seeds=3, epoch=result.epoch)[seed - 1]
            losses = []
            for start in (0, 32, 64, 96):
                batch = order[start : start + 32]
                head.reset_metrics()
                losses.append(float(head.train_on_batch(features[batch], labels[batch])) * len(batch))
            assert result.loss[seed - 1] == pytest.approx(sum(losses) / 100, rel=1e-4)
            logits = head.predict_on_batch(np.array(refs[1].array.load()))
            ours = result.probabilities[seed - 1]
            np.testing.assert_allclose(keras.ops.softmax(logits), ours, atol=1e-5)


def test_loss_and_accuracy_of_the_first_step_are_those_of_the_fresh_head(
    refs: tuple[FeatureRef, FeatureRef], tmp_path: Path
) -> None:
    settings = replace(with_values(dropout=0.0), epochs=1, num_seeds=2, batch_size=100)  # one step an epoch
    (result,) = train(refs, tmp_path, settings)
    for seed in (1, 2):
        head = build_head(settings.values, feature_size=SIZE, num_classes=CLASSES, study_seed=1, seed=seed)
        logits = head.predict_on_batch(np.array(refs[0].array.load()))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(refs[0].labels(), logits)
        assert result.loss[seed - 1] == pytest.approx(float(loss), rel=1e-5)
        assert result.accuracy[seed - 1] == np.mean(logits.argmax(-1) == refs[0].labels())


def test_order_is_a_permutation_of_its_own_for_each_seed_and_epoch() -> None:
    orders = [epoch_order(50, study_seed=1, num_seeds=3, epoch=epoch) for epoch in (1, 2)]
    rows = np.concatenate(orders)
    np.testing.assert_array_equal(np.sort(rows, axis=1), np.tile(np.arange(50), (6, 1)))
    assert len({row.tobytes() for row in rows}) == 6
    np.testing.assert_array_equal(orders[0][:2], epoch_order(50, study_seed=1, num_seeds=2, epoch=1))
    assert not np.array_equal(orders[0], epoch_order(50, study_seed=2, num_seeds=3, epoch=1))


@pytest.fixture(scope="module")
def long_trial(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[tuple[FeatureRef, FeatureRef], TrialSettings, list[EpochResult]]:
    """A trial whose curves rise and fall often."""
    refs = make_refs(tmp_path_factory.mktemp("features"), noise=4)
    settings = replace(with_values(learning_rate=0.02), epochs=25)
    return refs, settings, train(refs, tmp_path_factory.mktemp("scratch"), settings)


def improvements(curve: np.ndarray) -> list[bool]:
    """Where a curve is higher than ever before."""
    return [epoch == 0 or value > max(curve[:epoch]) for epoch, value in enumerate(curve)]


def stop(curve: np.ndarray, patience: int) -> int:
    """The last epoch that early stopping leaves of a curve."""
    best = 0
    for epoch, improved in enumerate(improvements(curve), 1):
        best = epoch if improved else best
        if epoch - best == patience:
            return epoch
    return len(curve)


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_early_stopping_watches_the_mean_curve(long_trial, patience: int, tmp_path: Path) -> None:
    refs, settings, results = long_trial
    curves = np.array([result.val_accuracy for result in results])
    expected = stop(curves.mean(axis=1), patience)
    assert expected < len(curves)
    assert any(stop(curve, patience) != expected for curve in curves.T)  # or the seeds would do as well
    stopped = train(refs, tmp_path, replace(settings, patience=patience))
    assert_same(stopped, results[:expected])


def test_checkpoints_are_written_whenever_the_mean_or_the_own_curve_improves(long_trial) -> None:
    _, _, results = long_trial
    curves = np.array([result.val_accuracy for result in results])
    mean = improvements(curves.mean(axis=1))
    own = [improvements(curve) for curve in curves.T]
    wanted = [
        {seed for seed in (1, 2, 3) if mean[epoch] or own[seed - 1][epoch]} for epoch in range(len(results))
    ]
    assert any(len(seeds) in (1, 2) for seeds in wanted)  # a seed's own curve alone
    assert any(mean[epoch] and not own[0][epoch] for epoch in range(len(results)))  # the mean alone
    assert set() in wanted
    assert [set(result.checkpoints) for result in results] == wanted
    for result in results:
        for seed, path in result.checkpoints.items():
            assert path.parts[-2:] == (f"seed_{seed}", f"epoch_{result.epoch:02d}.keras")
    folder = next(iter(results[0].checkpoints.values())).parents[1]
    assert len([path for path in folder.rglob("*") if path.is_file()]) == sum(map(len, wanted))


def test_each_checkpoint_scores_as_its_epoch_did(long_trial) -> None:
    refs, _, results = long_trial
    features, labels = np.array(refs[1].array.load()), refs[1].labels()
    for result in results:
        for seed, path in result.checkpoints.items():
            logits = keras.saving.load_model(path, safe_mode=True).predict_on_batch(features)
            assert np.mean(logits.argmax(-1) == labels) == result.val_accuracy[seed - 1]
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
            assert result.val_loss[seed - 1] == pytest.approx(float(loss), abs=1e-5)
            np.testing.assert_allclose(keras.ops.softmax(logits), result.probabilities[seed - 1], atol=1e-6)


@pytest.mark.parametrize("learning_rate", [1e30, 1e38])
def test_learning_rate_beyond_all_measure_diverges(
    refs: tuple[FeatureRef, FeatureRef], learning_rate: float, tmp_path: Path
) -> None:
    running = train_trial(with_values(learning_rate=learning_rate), *refs, tmp_path)
    with pytest.raises(DivergedError, match=r"is not finite in epoch 1 \(seed 1: "):
        next(running)
    assert not list(tmp_path.rglob("*.keras"))


def test_features_whose_logits_overflow_diverge(tmp_path: Path) -> None:
    refs = make_refs(tmp_path, noise=1.5, scale=1e38)
    with pytest.raises(DivergedError, match="not finite in epoch 1"):
        next(train_trial(with_values(learning_rate=0.1), *refs, tmp_path / "scratch"))


def test_epochs_before_the_divergence_are_yielded(refs: tuple[FeatureRef, FeatureRef], tmp_path: Path) -> None:
    # One step an epoch: after the first the logits are about 1e24, after the second they overflow.
    settings = replace(with_values(learning_rate=LATE), epochs=10, batch_size=100)
    yielded = []
    with pytest.raises(DivergedError, match=r"not finite in epoch (\d)") as caught:
        yielded.extend(result.epoch for result in train_trial(settings, *refs, tmp_path))
    assert yielded == []


def test_damaged_features_are_not_trained_on(tmp_path: Path) -> None:
    refs = make_refs(tmp_path, noise=1.5)
    with refs[1].array.path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    with pytest.raises(DataError, match="validation.npy: 1 of 1 shards"):
        next(train_trial(SETTINGS, *refs, tmp_path / "scratch"))


def test_full_disk_is_no_failure_of_the_trial(refs: tuple[FeatureRef, FeatureRef], tmp_path: Path) -> None:
    running = train_trial(SETTINGS, *refs, tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))  # the system refuses longer files
    try:
        with pytest.raises(DiskError):
            next(running)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.rglob("epoch_*.keras"))


def test_adam_in_one_kernel_is_keras_s_adam() -> None:
    random = np.random.default_rng(2)
    start = random.normal(size=(40, 10)).astype(np.float32)
    scales = 10.0 ** random.uniform(-6, 2, size=start.shape)
    one, other = keras.Variable(start), keras.Variable(start)
    fused, plain = engine.FusedAdam(0.003), keras.optimizers.Adam(0.003)
    for _ in range(300):
        gradient = keras.ops.convert_to_tensor((scales * random.normal(size=start.shape)).astype(np.float32))
        fused.apply([gradient], [one])
        plain.apply([gradient], [other])
    moved = np.abs(np.asarray(other) - start)
    assert moved.mean() > 0.01
    # Float32 has 6e-8; 300 steps of at most 0.003 may each round otherwise.
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
