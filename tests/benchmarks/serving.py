"""The web service under load, on loopback: throughput beside the bare engine's, waiting times, memory."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil

from fashion_tuning.data.decode import Sizing, decode
from fashion_tuning.data.source import Dataset
from fashion_tuning.model.classifier import BATCH_SIZE, Classifier
from fashion_tuning.model.head import build_head
from fashion_tuning.model.shipped import ModelCard
from fashion_tuning.model.weights import Weights
from fashion_tuning.model.whole import compose, save

IMAGE_SIZE, SMALL_SIZE = 299, 71
CLIENTS = (1, 4, 16)
SECONDS = 30.0  # of load for each number of clients
WARM_UP, NUM_REQUESTS = 500, 5000

Row = tuple[str, str, str, str]


@dataclass(frozen=True)
class Load:
    """What came of asking for a while: seconds of each answer, and of all of it."""

    latencies: np.ndarray
    seconds: float

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds


def measure(dataset: Dataset, weights: Weights, scratch: Path) -> list[Row]:
    """Rows of a model at 299 px under 1, 4 and 16 clients, and of memory over 5,000 requests to one at 71 px."""
    photos = [dataset.path(one) for one in dataset.manifest.select("validation")[:64]]
    return [
        *_speed(_model(dataset, weights, scratch, IMAGE_SIZE), photos),
        *_memory(_model(dataset, weights, scratch, SMALL_SIZE), photos),
    ]


def _model(dataset: Dataset, weights: Weights, scratch: Path, image_size: int) -> Path:
    """A whole model's file; a head that nobody has trained is as fast."""
    folder = scratch / f"served-{image_size}"
    folder.mkdir()
    classes = dataset.manifest.classes
    card = ModelCard(classes, image_size, "nearest")
    values = {"dense_units": 100, "dropout": 0.2}
    head = build_head(values, feature_size=2048, num_classes=len(classes), study_seed=1, seed=1)
    head.save(folder / "head.keras")
    save(compose(weights, folder / "head.keras", card), card, folder / "model.keras")
    return folder / "model.keras"


def _speed(model: Path, photos: Sequence[Path]) -> Iterator[Row]:
    bodies = [photo.read_bytes() for photo in photos]
    classifier = Classifier(model)
    pixels = np.stack([decode(photo, Sizing(IMAGE_SIZE)) for photo in photos[:BATCH_SIZE]])
    with _served(model) as (_, url):
        _ask(url, bodies, clients=BATCH_SIZE, seconds=5)
        for clients in CLIENTS:
            # Around the load, since the speed of a shared machine drifts.
            before = _bare(classifier, pixels)
            load = _ask(url, bodies, clients=clients, seconds=SECONDS)
            bare = (before + _bare(classifier, pixels)) / 2
            p50, p95 = np.percentile(load.latencies, (50, 95))
            yield (
                f"served at {IMAGE_SIZE} px, {clients} client{'s' if clients > 1 else ''}"
                f" (half of the answers within {p50:.2f} s, 95% within {p95:.2f} s)",
                f"{load.throughput:.1f} images/s",
                f"bare engine {bare:.1f} images/s in batches of {BATCH_SIZE};"
                f" 95% within {p95 * load.throughput / clients:.2f} times clients ÷ throughput",
                f"{load.throughput / bare:.2f}",
            )


def _memory(model: Path, photos: Sequence[Path]) -> Iterator[Row]:
    bodies = [photo.read_bytes() for photo in photos]
    with _served(model) as (process, url):
        _ask(url, bodies, clients=16, requests=WARM_UP)
        before = process.memory_info().rss
        _ask(url, bodies, clients=16, requests=NUM_REQUESTS)
        after = process.memory_info().rss
    yield (
        f"memory of the service after {NUM_REQUESTS:,} requests of 16 clients, at {SMALL_SIZE} px",
        f"{after / 1e6:.0f} MB",
        f"{before / 1e6:.0f} MB after the first {WARM_UP}",
        f"{after / before:.2f}",
    )


def _bare(classifier: Classifier, pixels: np.ndarray, *, rounds: int = 5) -> float:
    """Images/s of the model alone, in full batches: no file, no HTTP."""
    classifier.probabilities(pixels)
    started = time.perf_counter()
    for _ in range(rounds):
        classifier.probabilities(pixels)
    return rounds * len(pixels) / (time.perf_counter() - started)


@contextmanager
def _served(model: Path) -> Iterator[tuple[psutil.Process, str]]:
    command = [sys.executable, "-m", "fashion_tuning", "serve", "--model", str(model), "--port", "0", "--rate", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None, "the service did not start"
        yield psutil.Process(process.pid), found[0]
    finally:
        process.terminate()
        process.wait(20)


def _ask(
    url: str, bodies: Sequence[bytes], *, clients: int, seconds: float | None = None, requests: int | None = None
) -> Load:
    """Clients that each wait for an answer before they ask again, for a while or for so many requests."""
    latencies: list[float] = []
    until = time.perf_counter() + seconds if seconds is not None else float("inf")

    def ask(place: int) -> None:
        number = place
        with httpx.Client(base_url=url, trust_env=False, timeout=120) as client:
            while time.perf_counter() < until and (requests is None or number < requests):
                started = time.perf_counter()
                body = bodies[number % len(bodies)]
                client.post("/v1/predict", content=body, headers={"content-type": "image/jpeg"}).raise_for_status()
                latencies.append(time.perf_counter() - started)
                number += clients

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load(np.array(latencies), time.perf_counter() - started)
