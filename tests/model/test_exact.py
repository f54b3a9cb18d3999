"""Results depend on nothing that a user's settings or environment say; each in a child process, against a clean one."""

import ast
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import keras
import numpy as np
import pytest
from small_features import draw_photos, make_key

from fashion_tuning import surroundings
from fashion_tuning.data.manifest import Manifest
from fashion_tuning.errors import UsageError
from fashion_tuning.model import engine, exact
from fashion_tuning.model.classifier import Classifier, _load_pyfunc
from fashion_tuning.model.exact import EXACT, Settings, device_kind, exact_settings, read_settings
from fashion_tuning.model.features import FeatureRef, compute_features, feature_ref, load_features
from fashion_tuning.model.prefix import load_prefix
from fashion_tuning.model.training import TrialSettings, train_trial
from fashion_tuning.model.weights import Weights
from fashion_tuning.study.executors import Worker
from fashion_tuning.surroundings import clear_surroundings

PACKAGE = Path(__file__).parents[2] / "fashion_tuning"

# What a user's keras.json may say, and variables that change the bits of features or of a trial where they are obeyed.
FILES: dict[str, dict[str, object]] = {
    "float16": {"floatx": "float16"},
    "float64": {"floatx": "float64"},
    "channels_first": {"image_data_format": "channels_first"},
    "epsilon": {"epsilon": 0.1},
    "backend": {"backend": "jax"},
}
VARIABLES: dict[str, dict[str, str]] = {
    "one_dnn": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    "instructions": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"},
    "precision": {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16", "TF_SET_ONEDNN_FPMATH_MODE": "BF16"},
    "xla": {"TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit", "XLA_FLAGS": "--xla_cpu_enable_fast_math"},
    "numpy": {"NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX"},
    "tensor_float_32": {"NVIDIA_TF32_OVERRIDE": "1", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"},
    "keras": {"KERAS_MAX_EPOCHS": "none", "KERAS_MAX_STEPS_PER_EPOCH": "1", "KERAS_NNX_ENABLED": "true"},
    "threads": {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"},
    "hashes": {"PYTHONHASHSEED": "7"},
}
VALUES = {"learning_rate": 0.01, "dense_units": 10, "dropout": 0.2}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    root = tmp_path_factory.mktemp("photos")
    return root, draw_photos(root, {"train": 6, "validation": 3})


def results(
    worker: Worker, photos: tuple[Path, Manifest], weights: Weights, folder: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Features of the photos to train on, and what a trial on them says; by a worker, into an empty cache."""
    root, manifest = photos
    key = make_key(manifest=manifest.digest, weights=weights.digest)
    refs: list[FeatureRef] = []
    for split in ("train", "validation"):
        refs.append(feature_ref(key, split, manifest=manifest, cache_dir=folder))
        for _ in worker.run(compute_features, refs[-1], root=root, weights=weights):
            pass
    settings = TrialSettings(values=VALUES, epochs=2, num_seeds=2, study_seed=1, batch_size=4)
    *_, last = worker.run(train_trial, settings, *refs, folder / "scratch")
    return np.array(load_features(refs[0])), last.probabilities


@pytest.fixture(scope="module")
def clean(
    worker: Worker, photos: tuple[Path, Manifest], weights: Weights, tmp_path_factory: pytest.TempPathFactory
) -> tuple[np.ndarray, np.ndarray]:
    features, probabilities = results(worker, photos, weights, tmp_path_factory.mktemp("clean"))
    assert features.dtype == np.float32
    assert features.std() > 0.01
    return features, probabilities


def assert_same(
    clean: tuple[np.ndarray, np.ndarray],
    photos: tuple[Path, Manifest],
    weights: Weights,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: Mapping[str, object],
    variables: Mapping[str, str],
) -> None:
    """Holds a worker that is started under these settings to a clean one, bit for bit."""
    home = folder / "keras"
    home.mkdir()
    (home / "keras.json").write_text(json.dumps(file))
    monkeypatch.setenv("KERAS_HOME", str(home))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    worker = Worker()
    try:
        computed = results(worker, photos, weights, folder)
    finally:
        worker.close()
    for ours, theirs in zip(computed, clean, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_no_setting_changes_a_bit(clean, photos, weights, tmp_path, monkeypatch) -> None:
    file = {name: value for group in FILES.values() for name, value in group.items()} | FILES["float16"]
    variables = {name: value for group in VARIABLES.values() for name, value in group.items()}
    assert_same(clean, photos, weights, tmp_path, monkeypatch, file, variables)


@pytest.mark.slow  # quick is the one above, with all of them at once
@pytest.mark.parametrize("name", [*FILES, *VARIABLES])
def test_none_of_the_settings_changes_a_bit(name, clean, photos, weights, tmp_path, monkeypatch) -> None:
    assert_same(clean, photos, weights, tmp_path, monkeypatch, FILES.get(name, {}), VARIABLES.get(name, {}))


def test_variables_are_taken_away_but_those_that_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "_ours", Event())  # or this process would count as the program's own
    for name in [name for name in os.environ if name.startswith(("OMP_", "TF_", "XLA_"))]:
        monkeypatch.delenv(name)
    given = {"TF_ENABLE_ONEDNN_OPTS": "0", "XLA_FLAGS": "", "ONEDNN_VERBOSE": "1"}
    kept = {"TF_NUM_INTRAOP_THREADS": "1", "KERAS_HOME": "/somewhere", "CUDA_VISIBLE_DEVICES": "", "TF_VAR_name": "a"}
    for name, value in (given | kept).items():
        monkeypatch.setenv(name, value)
    assert set(clear_surroundings("tensorflow")) >= set(given)
    assert not set(given) & set(os.environ)
    assert set(kept) <= set(os.environ)
    assert clear_surroundings("tensorflow") == ()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert clear_surroundings("tensorflow") == ()
    assert clear_surroundings("torch") == ("OMP_NUM_THREADS",)


@contextmanager
def foreign(floatx: str, image_data_format: str, policy: str) -> Iterator[Settings]:
    """Keras's settings as somebody else's program has made them in this process."""
    before, policy_before = read_settings(), keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    exact.apply_settings(settings := Settings(floatx, 0.01, image_data_format))
    try:
        yield settings
    finally:
        exact.apply_settings(before)
        keras.config.set_dtype_policy(policy_before)


FOREIGN = [
    ("float16", "channels_first", "float16"),
    ("float64", "channels_last", "float64"),
    ("float32", "channels_last", "mixed_float16"),
]


@pytest.mark.parametrize(
    "settings", [FOREIGN[0], *(pytest.param(setting, marks=pytest.mark.slow) for setting in FOREIGN[1:])], ids="-".join
)
def test_a_model_in_somebody_elses_process_answers_as_ever_and_changes_nothing_there(
    settings: tuple[str, str, str], model: Path, photos: tuple[Path, Manifest]
) -> None:
    import pandas as pd

    root, manifest = photos
    content = [(root / photo.path).read_bytes() for photo in manifest.photos]
    expected = [answer.probabilities for answer in Classifier(model).answers(content)]
    with foreign(*settings) as theirs:
        table = _load_pyfunc(str(model)).predict(pd.DataFrame({"image": content}))
        assert read_settings() == theirs
        assert keras.config.dtype_policy().name == settings[2]
    np.testing.assert_array_equal(table.to_numpy(), expected)


@pytest.mark.parametrize("settings", FOREIGN, ids="-".join)
def test_features_are_exact_where_keras_was_imported_with_other_settings(
    settings: tuple[str, str, str], weights: Weights
) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (2, 71, 71, 3), dtype=np.uint8)

    def features() -> np.ndarray:
        return load_prefix(weights, image_size=71, engine=make_key().engine, precision="float32")(pixels)

    expected = features()
    with foreign(*settings):
        np.testing.assert_array_equal(features(), expected)


def test_blocks_may_overlap() -> None:
    with foreign("float16", "channels_first", "float16") as theirs:
        first, second = exact_settings(), exact_settings()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert read_settings() == EXACT
        second.__exit__(None, None, None)
        assert read_settings() == theirs


def settings_of_worker() -> Iterator[tuple[Settings, str, bool, str]]:
    yield read_settings(), keras.config.dtype_policy().name, engine.has_tensor_float_32(), device_kind()


def test_a_worker_has_the_exact_settings_for_good_and_no_tf32(worker: Worker) -> None:
    (settings,) = worker.run(settings_of_worker)
    assert settings == (EXACT, "float32", False, "cpu")


def test_features_of_a_device_that_is_not_here_are_refused(weights: Weights) -> None:
    with pytest.raises(UsageError, match="features of images on tpu, and Keras computes on cpu here"):
        load_prefix(weights, image_size=71, engine=make_key().engine, precision="float32", device="tpu")


def test_a_key_names_a_device_that_is_no_processor() -> None:
    assert "device" not in make_key().parts()
    assert make_key(device="cpu").digest == make_key().digest
    assert make_key(device="gpu").parts()["device"] == "gpu"
    assert len({make_key(device=device).digest for device in ("cpu", "gpu", "cuda")}) == 3
    assert make_key(device="gpu") != make_key(device="gpu").exact == make_key()
    assert make_key(device="gpu").mode == f"{make_key().engine} on gpu in float32"


MODULES = [path for path in sorted((PACKAGE / "model").glob("*.py")) if path.name != "exact.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_whoever_uses_keras_does_so_under_the_exact_settings(path: Path) -> None:
    """Functions that others call; what is private is called by these."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        uses = any(isinstance(node, ast.Import) and node.names[0].name == "keras" for node in ast.walk(function))
        decorated = "exact_settings()" in map(ast.unparse, function.decorator_list)
        assert decorated or not uses or function.name.startswith("_"), f"{path.name}: {function.name}"
