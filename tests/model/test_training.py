"""Trials on made-up features, as small as the rules they show."""

import resource
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from small_features import write_features

from fashion_tuning.errors import DataError, DiskError
from fashion_tuning.hyperparameters import Value
from fashion_tuning.model.checkpoint import predict
from fashion_tuning.model.epochs import EpochResult
from fashion_tuning.model.features import FeatureRef, load_features
from fashion_tuning.model.head import build_head
from fashion_tuning.model.training import DivergedError, TrialSettings, epoch_order, epoch_shares, train_trial

SIZE, CLASSES = 16, 4
SETTINGS = TrialSettings(
    values={"learning_rate": 0.01, "dense_units": 8, "dropout": 0.3},
    epochs=3,
    num_seeds=2,
    study_seed=1,
    batch_size=32,
)
Refs = tuple[FeatureRef, FeatureRef]
CURVES = ("loss", "accuracy", "val_loss", "val_accuracy", "probabilities")


@pytest.fixture(scope="module")
def refs(tmp_path_factory: pytest.TempPathFactory) -> Refs:
    """Train and validation features of four overlapping classes; 100 images make batches of 32, 32, 32 and 4."""
    return make_refs(tmp_path_factory.mktemp("features"), noise=1.5)


def make_refs(folder: Path, *, noise: float, scale: float = 1.0) -> Refs:
    random = np.random.default_rng(5)
    centres = random.normal(size=(CLASSES, SIZE))

    def ref(split: str, count: int) -> FeatureRef:
        labels = random.permutation(np.arange(count) % CLASSES)
        features = centres[labels] + noise * random.normal(size=(count, SIZE))
        return write_features(folder, split, (features * scale).astype(np.float32), labels)

    return ref("train", 100), ref("validation", 60)


def train(
    refs: Refs, scratch: Path, settings: TrialSettings = SETTINGS, targets: np.ndarray | None = None
) -> list[EpochResult]:
    return list(train_trial(settings, *refs, scratch, targets=targets))


def with_values(settings: TrialSettings = SETTINGS, **values: Value) -> TrialSettings:
    return replace(settings, values={**settings.values, **values})


def assert_same(one: list[EpochResult], other: list[EpochResult]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.epoch == b.epoch
        assert sorted(a.checkpoints) == sorted(b.checkpoints)
        for name in CURVES:
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=f"{name}, epoch {a.epoch}")


@pytest.fixture(scope="module")
def results(refs: Refs, tmp_path_factory: pytest.TempPathFactory) -> list[EpochResult]:
    """The trial of SETTINGS."""
    return train(refs, tmp_path_factory.mktemp("scratch"))


def test_results_have_an_entry_for_each_seed_and_tell_one_story(refs: Refs, results: list[EpochResult]) -> None:
    assert [result.epoch for result in results] == [1, 2, 3]
    for result in results:
        for name in CURVES[:4]:
            assert getattr(result, name).shape == (2,)
        assert result.probabilities.shape == (2, 60, CLASSES)
        assert result.probabilities.dtype == np.float32
        np.testing.assert_allclose(result.probabilities.sum(-1), 1, atol=1e-6)
        right = result.probabilities.argmax(-1) == refs[1].labels()
        np.testing.assert_array_equal(result.val_accuracy, right.mean(-1))
        assert set(result.seconds) == {"training", "validation", "checkpoints"}


def test_epochs_are_yielded_as_soon_as_they_are_there(refs: Refs, tmp_path: Path) -> None:
    running = train_trial(replace(SETTINGS, num_seeds=1), *refs, tmp_path)
    assert next(running).epoch == 1
    assert [path.name for path in tmp_path.rglob("*.keras")] == ["epoch_01.keras"]
    running.close()


def test_same_settings_give_the_same_bits_whatever_ran_in_between(
    refs: Refs, results: list[EpochResult], tmp_path: Path
) -> None:
    train(refs, tmp_path / "other", replace(with_values(dense_units=0), study_seed=2, num_seeds=1))
    assert_same(results, train(refs, tmp_path / "again"))


def test_seeds_do_not_feel_each_other(refs: Refs, results: list[EpochResult], tmp_path: Path) -> None:
    alone = train(refs, tmp_path, replace(SETTINGS, num_seeds=1))
    for together, one in zip(results, alone, strict=True):
        for name in CURVES:
            np.testing.assert_allclose(getattr(together, name)[:1], getattr(one, name), rtol=1e-5, err_msg=name)
        assert together.loss[0] != together.loss[1]  # and each goes its own way


def test_another_study_seed_trains_otherwise(refs: Refs, results: list[EpochResult], tmp_path: Path) -> None:
    other = train(refs, tmp_path, replace(SETTINGS, epochs=1, study_seed=2))
    assert not np.isclose(results[0].loss, other[0].loss).any()


def test_training_is_that_of_plain_keras_with_the_last_short_batch(refs: Refs, results: list[EpochResult]) -> None:
    features, labels = np.array(refs[0].array.load()), refs[0].labels()
    for seed in (1, 2):
        head = build_head(SETTINGS.values, feature_size=SIZE, num_classes=CLASSES, study_seed=1, seed=seed)
        head.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        for result in results:
            order = epoch_order(100, study_seed=1, num_seeds=2, epoch=result.epoch)[seed - 1]
            total = 0.0
            for start in (0, 32, 64, 96):
                batch = order[start : start + 32]
                head.reset_metrics()  # else train_on_batch returns a mean over batches
                total += float(head.train_on_batch(features[batch], labels[batch])) * len(batch)
            assert result.loss[seed - 1] == pytest.approx(total / 100, rel=1e-4)
            logits = head.predict_on_batch(np.array(refs[1].array.load()))
            np.testing.assert_allclose(keras.ops.softmax(logits), result.probabilities[seed - 1], atol=1e-5)


def test_loss_and_accuracy_are_those_before_each_step(refs: Refs, tmp_path: Path) -> None:
    settings = replace(with_values(dropout=0.0), epochs=1, batch_size=100)  # one step, from the fresh heads
    (result,) = train(refs, tmp_path, settings)
    for seed in (1, 2):
        head = build_head(settings.values, feature_size=SIZE, num_classes=CLASSES, study_seed=1, seed=seed)
        logits = head.predict_on_batch(np.array(refs[0].array.load()))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(refs[0].labels(), logits)
        assert result.loss[seed - 1] == pytest.approx(float(loss), rel=1e-5)
        assert result.accuracy[seed - 1] == pytest.approx(np.mean(logits.argmax(-1) == refs[0].labels()))


def test_order_is_a_permutation_of_its_own_for_each_seed_and_epoch() -> None:
    orders = [epoch_order(50, study_seed=1, num_seeds=3, epoch=epoch) for epoch in (1, 2)]
    rows = np.concatenate(orders)
    np.testing.assert_array_equal(np.sort(rows, axis=1), np.tile(np.arange(50), (6, 1)))
    assert len({row.tobytes() for row in rows}) == 6
    np.testing.assert_array_equal(orders[0][:2], epoch_order(50, study_seed=1, num_seeds=2, epoch=1))
    assert not np.array_equal(orders[0], epoch_order(50, study_seed=2, num_seeds=3, epoch=1))


def test_shares_of_blends_are_from_a_beta_distribution_and_at_least_a_half() -> None:
    values = {**SETTINGS.values, "mixup": 0.4}
    shares = epoch_shares(4000, values, study_seed=1, num_seeds=2, epoch=1)
    assert shares.min() >= 0.5
    assert shares.max() <= 1
    # The variance of Beta(a, a) is 1 / (4 (2a + 1)).
    assert np.mean((shares - 0.5) ** 2) == pytest.approx(1 / (4 * 1.8), rel=0.05)
    assert not np.array_equal(shares[0], shares[1])
    assert not np.array_equal(shares, epoch_shares(4000, values, study_seed=1, num_seeds=2, epoch=2))
    assert epoch_shares(4000, SETTINGS.values, study_seed=1, num_seeds=2, epoch=1) is None


@pytest.fixture(scope="module")
def long_trial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Refs, TrialSettings, list[EpochResult]]:
    """A trial whose curves rise and fall often, on either backend, which draw otherwise from the same seeds."""
    refs = make_refs(tmp_path_factory.mktemp("features"), noise=4)
    settings = replace(with_values(learning_rate=0.02), epochs=15, num_seeds=3, study_seed=10)
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


def test_early_stopping_watches_the_mean_curve(long_trial, tmp_path: Path) -> None:
    patience = 2
    refs, settings, results = long_trial
    curves = np.array([result.val_accuracy for result in results])
    expected = stop(curves.mean(axis=1), patience)
    assert expected < len(curves)
    assert all(stop(curve, patience) != expected for curve in curves.T)  # or a seed would do as well
    stopped = train(refs, tmp_path, replace(settings, patience=patience))
    assert_same(stopped, results[:expected])


def test_checkpoints_are_written_whenever_the_mean_or_the_own_curve_improves(long_trial) -> None:
    _, _, results = long_trial
    curves = np.array([result.val_accuracy for result in results])
    mean = improvements(curves.mean(axis=1))
    own = [improvements(curve) for curve in curves.T]
    wanted = [{seed for seed in (1, 2, 3) if mean[epoch] or own[seed - 1][epoch]} for epoch in range(len(results))]
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


def test_learning_rate_beyond_all_measure_diverges(refs: Refs, tmp_path: Path) -> None:
    running = train_trial(with_values(learning_rate=1e30), *refs, tmp_path)
    with pytest.raises(DivergedError, match=r"is not finite in epoch 1 \(seed 1: \w+, seed 2: \w+\)"):
        next(running)
    assert not list(tmp_path.rglob("*.keras"))


def test_features_whose_logits_overflow_diverge(tmp_path: Path) -> None:
    refs = make_refs(tmp_path, noise=1.5, scale=3e37)
    settings = replace(with_values(learning_rate=10.0), num_seeds=1)
    with pytest.raises(DivergedError, match="not finite in epoch 1"):
        next(train_trial(settings, *refs, tmp_path / "scratch"))


def test_epochs_before_the_divergence_are_yielded(refs: Refs, tmp_path: Path) -> None:
    # One step an epoch: every step makes the logits larger, until float32 ends.
    settings = replace(with_values(learning_rate=1e18, dropout=0.0), num_seeds=1, epochs=20, batch_size=100)
    yielded: list[EpochResult] = []
    with pytest.raises(DivergedError) as caught:
        yielded.extend(train_trial(settings, *refs, tmp_path))
    assert yielded
    assert f"not finite in epoch {yielded[-1].epoch + 1} " in str(caught.value)


def test_damaged_features_are_not_trained_on(tmp_path: Path) -> None:
    refs = make_refs(tmp_path, noise=1.5)
    with refs[1].array.path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    with pytest.raises(DataError, match=r"validation\.npy: 1 of 1 shards"):
        next(train_trial(SETTINGS, *refs, tmp_path / "scratch"))


def test_full_disk_is_no_failure_of_the_trial(refs: Refs, tmp_path: Path) -> None:
    running = train_trial(SETTINGS, *refs, tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))  # the system refuses longer files
    try:
        with pytest.raises(DiskError):
            next(running)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.rglob("epoch_*.keras"))


# --- views: an epoch sees each image once, in one of its views ---


def with_views(refs: Refs, folder: Path, *, count: int) -> Refs:
    """The same labels with other features, view by view."""
    train_ref, validation = refs
    random, labels = np.random.default_rng(4), train_ref.labels()
    views = tuple(
        write_features(
            folder / str(number), "train", random.normal(size=(len(labels), SIZE)).astype(np.float32), labels
        )
        for number in range(1, 1 + count)
    )
    return replace(train_ref, views=views), validation


def test_an_epoch_takes_each_image_once_and_draws_its_view() -> None:
    order = epoch_order(200, study_seed=1, num_seeds=2, epoch=3, num_views=4)
    plain = epoch_order(200, study_seed=1, num_seeds=2, epoch=3)
    np.testing.assert_array_equal(order % 200, plain)
    counts = np.bincount(order.ravel() // 200, minlength=4)
    assert counts.sum() == 400
    assert counts.min() > 60
    other = epoch_order(200, study_seed=1, num_seeds=2, epoch=4, num_views=4)
    assert not np.array_equal(np.argsort(order[0] % 200), np.argsort(other[0] % 200))
    views = [one[0][np.argsort(one[0] % 200)] // 200 for one in (order, other)]
    assert 0.5 < np.mean(views[0] != views[1]) < 0.95


def test_training_draws_from_the_views(refs: Refs, results: list[EpochResult], tmp_path: Path) -> None:
    views = with_views(refs, tmp_path, count=2)
    assert_same(train(views, tmp_path / "one", with_values(views=1)), results)
    every = train(views, tmp_path / "every")
    assert_same(every, train(views, tmp_path / "again", with_values(views=3)))
    assert not np.array_equal(every[0].loss, results[0].loss)
    two = train(views, tmp_path / "two", with_values(views=2))
    assert_same(two, train(with_views(refs, tmp_path / "first", count=1), tmp_path / "other"))


def test_each_view_has_the_answer_of_the_teacher_to_it(refs: Refs, tmp_path: Path) -> None:
    views = with_views(refs, tmp_path, count=2)
    targets = np.random.default_rng(7).dirichlet(np.ones(CLASSES), (3, 100)).astype(np.float32)
    # One step, from the fresh head.
    settings = replace(with_values(distillation=1.0, dropout=0.0, views=2), epochs=1, batch_size=100, num_seeds=1)
    (result,) = train(views, tmp_path / "scratch", settings, targets)
    (order,) = epoch_order(100, study_seed=1, num_seeds=1, epoch=1, num_views=2)
    head = build_head(settings.values, feature_size=SIZE, num_classes=CLASSES, study_seed=1, seed=1)
    features = np.concatenate([load_features(one) for one in views[0].every])[order]
    logits = head.predict_on_batch(features)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)(np.concatenate(targets)[order], logits)
    assert result.loss[0] == pytest.approx(float(loss), rel=1e-5)


def test_distillation_needs_targets(refs: Refs, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without a teacher's targets"):
        train(refs, tmp_path, with_values(distillation=0.5))


def test_probabilities_are_means_over_the_views_of_validation(
    refs: Refs, results: list[EpochResult], tmp_path: Path
) -> None:
    train_ref, validation = refs
    mirrored = np.ascontiguousarray(load_features(validation)[:, ::-1])
    view = write_features(tmp_path / "view", "validation", mirrored, validation.labels())
    found = train((train_ref, replace(validation, views=(view,))), tmp_path / "averaged")
    views = [load_features(validation), mirrored]
    for ours, alone in zip(found, results, strict=True):
        np.testing.assert_array_equal(ours.loss, alone.loss)  # training sees none of it
        picked = ours.probabilities[:, np.arange(len(validation.photos)), validation.labels()]
        np.testing.assert_allclose(-np.log(picked).mean(-1), ours.val_loss, rtol=1e-4)
        for seed, path in ours.checkpoints.items():
            mean = np.mean([predict(path, features) for features in views], axis=0)
            np.testing.assert_allclose(ours.probabilities[seed - 1], mean, rtol=0, atol=1e-6)
            assert np.abs(mean - predict(path, views[0])).max() > 1e-3


def test_views_are_trained_with_the_labels_of_their_images(refs: Refs, tmp_path: Path) -> None:
    """Views that say the label outright are learnt; with the labels of other images they could not be."""
    train_ref, validation = refs
    labels = train_ref.labels()
    told = np.zeros((len(labels), SIZE), np.float32)
    told[np.arange(len(labels)), labels] = 10
    view = write_features(tmp_path / "told", "train", told, labels)
    settings = replace(with_values(dropout=0.0, learning_rate=0.05), epochs=12)
    last = train((replace(train_ref, views=(view,)), validation), tmp_path, settings)[-1]
    assert (last.accuracy > 0.9).all()


# --- what a card may name beside the three: each as Keras itself would train ---

TRAINED = {
    "adamw": {"optimizer": "adamw", "weight_decay": 0.05},
    "sgd": {"optimizer": "sgd", "momentum": 0.8},
    "cosine": {"schedule": "cosine"},
    "warm-up": {"schedule": "cosine", "warmup_epochs": 1},
    "smoothed labels": {"label_smoothing": 0.2},
    "class weights": {"class_weights": "balanced"},
    "mixup": {"mixup": 0.4},
    "distillation": {"distillation": 0.5, "label_smoothing": 0.1},
    "small batches": {"batch_size": 10},
    "moving averages": {"ema_momentum": 0.9},
    "deep": {"dense_layers": 2, "dense_units_2": 5, "activation": "gelu", "dropout_1": 0.2},
    "batch normalization": {"normalization": "batch", "activation": "tanh"},
    "layer normalization": {"normalization": "layer"},
    "all at once": {
        "optimizer": "adamw", "weight_decay": 0.01, "schedule": "cosine", "warmup_epochs": 2, "label_smoothing": 0.1,
        "class_weights": "balanced", "batch_size": 16, "ema_momentum": 0.5, "normalization": "batch",
    },
    "all with mixup": {
        "optimizer": "adamw", "weight_decay": 0.01, "schedule": "cosine", "label_smoothing": 0.1, "batch_size": 16,
        "ema_momentum": 0.5, "normalization": "batch", "mixup": 0.5,
    },
    "mixup and distillation": {"mixup": 0.5, "distillation": 0.8},
    "class weights and distillation": {"class_weights": "balanced", "distillation": 1.0},
}  # fmt: skip


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Refs:
    """Classes of unequal frequency."""
    folder, random = tmp_path_factory.mktemp("uneven"), np.random.default_rng(8)
    centres = random.normal(size=(CLASSES, SIZE))

    def ref(split: str, count: int) -> FeatureRef:
        labels = np.concatenate([np.arange(CLASSES), random.choice(CLASSES, count - CLASSES, p=[0.6, 0.2, 0.1, 0.1])])
        return write_features(folder, split, (centres[labels] + random.normal(size=(count, SIZE))).astype("f4"), labels)

    return ref("train", 90), ref("validation", 40)


QUICK = ("sgd", "deep", "mixup and distillation", "all at once")


@pytest.fixture(scope="module")
def plain(uneven: Refs, tmp_path_factory: pytest.TempPathFactory) -> list[EpochResult]:
    """What comes out where a card names none of them."""
    return train(uneven, tmp_path_factory.mktemp("plain"), replace(SETTINGS, num_seeds=1))


@pytest.mark.parametrize(
    "case", [pytest.param(one, marks=[] if one in QUICK else [pytest.mark.slow]) for one in TRAINED]
)
def test_a_trial_is_what_keras_trains(case: str, uneven: Refs, plain: list[EpochResult], tmp_path: Path) -> None:
    settings = replace(with_values(**TRAINED[case]), num_seeds=1)
    targets = np.random.default_rng(9).dirichlet(np.ones(CLASSES), 90).astype(np.float32)
    expected = train_by_keras(settings, *uneven, targets)
    found = train(uneven, tmp_path, settings, targets[None])
    assert not np.allclose(found[-1].probabilities, plain[-1].probabilities, atol=1e-4)
    for result, probabilities in zip(found, expected, strict=True):
        np.testing.assert_allclose(result.probabilities[0], probabilities, rtol=0, atol=2e-5)


def train_by_keras(
    settings: TrialSettings, train_ref: FeatureRef, validation_ref: FeatureRef, targets: np.ndarray
) -> list[np.ndarray]:
    """Validation probabilities after each epoch, (images, classes), by train_on_batch; seed 1."""
    values, labels = settings.values, train_ref.labels()
    features, validation = (np.array(load_features(ref)) for ref in (train_ref, validation_ref))
    model = build_head(values, feature_size=SIZE, num_classes=CLASSES, study_seed=settings.study_seed, seed=1)
    batch_size = int(values.get("batch_size", settings.batch_size))
    steps = -(-len(labels) // batch_size)
    rate: float | keras.optimizers.schedules.LearningRateSchedule = values["learning_rate"]
    warm = values.get("warmup_epochs", 0) * steps
    if values.get("schedule") == "cosine" and warm:
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, settings.epochs * steps - warm, warmup_target=rate, warmup_steps=warm
        )
    elif values.get("schedule") == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, settings.epochs * steps)
    averages = {"use_ema": True, "ema_momentum": values["ema_momentum"]} if "ema_momentum" in values else {}
    optimizer = {
        "adam": lambda: keras.optimizers.Adam(rate, **averages),
        "adamw": lambda: keras.optimizers.AdamW(rate, weight_decay=values["weight_decay"], **averages),
        "sgd": lambda: keras.optimizers.SGD(rate, momentum=values["momentum"], **averages),
    }[values.get("optimizer", "adam")]()
    share, smoothing = values.get("distillation", 0.0), values.get("label_smoothing", 0.0)
    hard = keras.utils.to_categorical(labels, CLASSES)
    if share:  # Keras would smooth the targets as well
        hard = (1 - share) * (hard * (1 - smoothing) + smoothing / CLASSES) + share * targets
        smoothing = 0.0
    model.compile(
        optimizer, keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing), jit_compile=False
    )
    counts = np.bincount(labels)
    weights = {label: len(labels) / (CLASSES * count) for label, count in enumerate(counts)}

    def weighting(batch: np.ndarray) -> dict[str, object]:
        if "class_weights" not in values:
            return {}
        if share:  # Keras would take the class from the largest entry, which a target may move
            return {"sample_weight": np.array([weights[label] for label in labels[batch]])}
        return {"class_weight": weights}

    found = []
    for epoch in range(1, settings.epochs + 1):
        (order,) = epoch_order(len(labels), study_seed=settings.study_seed, num_seeds=1, epoch=epoch)
        shares = epoch_shares(len(labels), values, study_seed=settings.study_seed, num_seeds=1, epoch=epoch)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            pixels, expected = features[batch], hard[batch]
            if shares is None:
                model.train_on_batch(pixels, expected, **weighting(batch))
                continue
            own = shares[0, start : start + batch_size, None]
            pixels, expected = (own * one + (1 - own) * one[np.arange(len(one)) - 1] for one in (pixels, expected))
            model.train_on_batch(pixels, expected)
        raw = model.get_weights()
        if averages:
            optimizer.finalize_variable_values(model.trainable_variables)
        found.append(keras.ops.convert_to_numpy(keras.ops.softmax(model(validation, training=False))))
        model.set_weights(raw)
    return found


def test_checkpoints_hold_the_averaged_weights(uneven: Refs, tmp_path: Path) -> None:
    results = train(uneven, tmp_path, with_values(ema_momentum=0.9))
    features = np.array(load_features(uneven[1]))
    for result in results:
        for seed, path in result.checkpoints.items():
            np.testing.assert_allclose(predict(path, features), result.probabilities[seed - 1], atol=1e-5)


def test_a_plateau_halves_the_learning_rate(uneven: Refs, tmp_path: Path) -> None:
    """With a learning rate so small that nothing improves, halvings come every other epoch and show in the steps."""
    settings = replace(with_values(learning_rate=1e-7, dropout=0.0, dense_units=0), epochs=6, num_seeds=1)
    plateau = with_values(settings, schedule="plateau")
    plain, lowered = (
        [one.probabilities[0] for one in train(uneven, tmp_path / name, each)]
        for name, each in (("a", settings), ("b", plateau))
    )
    for epoch in range(3):  # best in epoch 1, two epochs without a better one, halved before the fourth
        np.testing.assert_array_equal(plain[epoch], lowered[epoch])
    moved = [np.abs(one[5] - one[2]).max() for one in (plain, lowered)]
    assert 0.3 < moved[1] / moved[0] < 0.6
