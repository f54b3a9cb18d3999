"""A small model for this room's tests, as a file and as a champion in a registry."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from fashion_tuning.data.drawn import draw_garment
from fashion_tuning.model.head import build_head
from fashion_tuning.model.shipped import ModelCard
from fashion_tuning.model.weights import Weights

NAMES = ("dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt")


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory, weights: Weights) -> Callable[..., Path]:
    """A function from a seed to a whole model's file at 71 px, whose head nobody has trained."""
    from fashion_tuning.model.whole import compose, save

    def make(seed: int = 1, *, unsure_below: float | None = 0.2) -> Path:
        folder = tmp_path_factory.mktemp(f"model-{seed}")
        values = {"dense_units": 0, "dropout": 0}
        build_head(values, feature_size=2048, num_classes=len(NAMES), study_seed=seed, seed=1).save(folder / "h.keras")
        card = ModelCard(NAMES, 71, "nearest", unsure_below=unsure_below)
        save(compose(weights, folder / "h.keras", card), card, folder / "model.keras")
        return folder / "model.keras"

    return make


@pytest.fixture(scope="session")
def model(make_model: Callable[..., Path]) -> Path:
    return make_model()


@pytest.fixture(scope="session")
def photo() -> bytes:
    content = io.BytesIO()
    draw_garment("dress", seed=5, index=0).save(content, "JPEG")
    return content.getvalue()
