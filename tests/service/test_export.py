"""Exports of a small whole model: each format that is installed agrees with Keras, each other says what it needs."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from fashion_tuning.errors import ParityError, UsageError
from fashion_tuning.model.exporting import FORMATS
from fashion_tuning.model.head import build_head
from fashion_tuning.model.shipped import ModelCard
from fashion_tuning.model.weights import Weights
from fashion_tuning.model.whole import compose, save
from fashion_tuning.service import export as exports
from fashion_tuning.service.export import export, require_libraries

CARD = ModelCard(("hat", "shoes", "skirt"), 80, "nearest")
PIXELS = np.random.default_rng(1).integers(0, 256, (20, 80, 80, 3), np.uint8)


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory, weights: Weights) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    head = build_head({"dense_units": 0, "dropout": 0}, feature_size=2048, num_classes=3, study_seed=1, seed=1)
    head.save(folder / "head.keras")
    save(compose(weights, folder / "head.keras", CARD), CARD, folder / "model.keras")
    return folder / "model.keras"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # exporters warn of their own code
@pytest.mark.parametrize("format", FORMATS)
def test_an_export_agrees_with_keras(format: str, model_file: Path, tmp_path: Path) -> None:
    if any(importlib.util.find_spec(name) is None for name in FORMATS[format].modules):
        pytest.skip(f"{format} is not installed")
    target = tmp_path / f"model{FORMATS[format].suffix}"
    found = export(model_file, format, target, pixels=PIXELS)
    assert found.path.exists()
    assert found.num_bytes > 1_000_000
    assert found.largest_difference <= 1e-4
    assert [speed.batch_size for speed in found.speeds] == [1, 16]
    assert all(speed.images_per_second > 0 for speed in found.speeds)
    with pytest.raises(UsageError, match="exists"):
        export(model_file, format, target, pixels=PIXELS)


@pytest.mark.slow
def test_an_export_that_differs_is_told(model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "TOLERANCE", -1.0)
    with pytest.raises(ParityError, match="differs from the Keras model") as caught:
        export(model_file, "saved_model", tmp_path / "model", pixels=PIXELS)
    assert caught.value.exit_code == 1


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else found(name))
    with pytest.raises(UsageError, match="needs openvino") as caught:
        require_libraries("openvino")
    assert caught.value.action == "pip install openvino"


def test_another_format_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="pickle") as caught:
        require_libraries("pickle")
    assert "litert, onnx, openvino, saved_model" in caught.value.expected


def test_a_name_that_does_not_end_as_the_format_does(model_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected"):
        export(model_file, "saved_model", tmp_path / "model.pb", pixels=PIXELS)


def test_a_name_that_no_exporter_can_write(model_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="UTF-8"):
        export(model_file, "saved_model", tmp_path / os.fsdecode(b"lat\xe9"), pixels=PIXELS)
    assert list(tmp_path.iterdir()) == []
