"""Reduced modes of feature extraction against the exact one: speed, and how far their features are."""

import time

import numpy as np

from fashion_tuning.data.decode import Sizing, decode
from fashion_tuning.data.source import Dataset
from fashion_tuning.errors import UsageError
from fashion_tuning.model.extraction import BATCH_SIZE
from fashion_tuning.model.prefix import load_prefix
from fashion_tuning.model.weights import Weights

MODES = (("keras-tensorflow", "bfloat16"), ("openvino", "float32"), ("openvino", "bfloat16"))
IMAGE_SIZE = 150
ROUNDS = 5


def measure(dataset: Dataset, weights: Weights) -> list[tuple[str, str, str, str]]:
    """One row per mode: images/s of the network alone, in turn with Keras in float32."""
    chosen = dataset.manifest.select("validation")[:BATCH_SIZE]
    pixels = np.stack([decode(dataset.path(photo), Sizing(IMAGE_SIZE)) for photo in chosen])
    exact = load_prefix(weights, image_size=IMAGE_SIZE, engine="keras-tensorflow", precision="float32")
    expected = exact(pixels)
    rows = []
    for engine, precision in MODES:
        name = f"frozen prefix at {IMAGE_SIZE} px by {engine.partition('-')[0]} in {precision}"
        try:
            mode = load_prefix(weights, image_size=IMAGE_SIZE, engine=engine, precision=precision)
        except UsageError:
            rows.append((name, "not on this processor", "", ""))
            continue
        far = np.linalg.norm(mode(pixels) - expected) / np.linalg.norm(expected)
        rates: list[list[float]] = [[], []]
        for _ in range(ROUNDS):
            for run, found in zip((mode, exact), rates, strict=True):
                started = time.perf_counter()
                run(pixels)
                found.append(len(pixels) / (time.perf_counter() - started))
        ours, theirs = (float(np.median(found)) for found in rates)
        rows.append(
            (
                f"{name} (features differ by {far:.1g} of their length)",
                f"{ours:.1f} images/s",
                f"Keras in float32 {theirs:.1f} images/s",
                f"{ours / theirs:.2f}",
            )
        )
    return rows
