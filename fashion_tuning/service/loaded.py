"""A model made ready to answer: loaded, held to the engine it computes with, warmed, and tried on a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from fashion_tuning.data.decode import Sizing, decode
from fashion_tuning.data.drawn import draw_garment
from fashion_tuning.errors import FashionTuningError, ParityError, UsageError
from fashion_tuning.files import scratch_folder
from fashion_tuning.model.classifier import BATCH_SIZE, Classifier, Prepared
from fashion_tuning.model.exporting import FORMATS, Runner, load_runner
from fashion_tuning.model.shipped import read_card
from fashion_tuning.service.export import Export, export

KERAS: Final = "keras"
FASTEST: Final = "fastest"
ENGINES: Final = (KERAS, *FORMATS, FASTEST)
AGREEMENT: Final = 1e-4  # of a picture's probabilities, alone and in a batch
_LABELS: Final = ("dress", "hat", "pants", "shoes")


@dataclass(frozen=True)
class Loaded:
    """A model that answers.

    Args:
      name, version: What the registry calls it; of a folder its name and the start of its digest.
      engine: What computes it, one of ENGINES but "fastest".
      unsure_below: Answers with a lower probability are called unsure; None: not on record.
      drawn: It was made of drawn garments.
      note: How the engine was chosen; "" for Keras.
    """

    name: str
    version: str
    classifier: Classifier
    engine: str
    unsure_below: float | None
    drawn: bool = False
    note: str = ""

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"

    def is_unsure(self, probability: float) -> bool:
        """Whether an answer of this probability is none to rely on."""
        return self.unsure_below is not None and probability < self.unsure_below


def load_model(path: Path, engine: str, *, average_views: bool | None) -> tuple[Classifier, str, str]:
    """A model's file in an engine: the classifier, the engine's name and how it compared.

    An engine other than Keras is an export made here and now, compared with Keras on drawn pictures; "fastest" tries
    all that are installed and Keras, and takes the one with the most images/s in batches.

    Args:
      average_views: See `Classifier`.

    Raises:
      BrokenCheckpointError: The file is damaged.
      UsageError: The engine is not installed, or there are no views to average over.
      ParityError: It answers differently from Keras.
    """
    if average_views and not read_card(path).views:
        raise UsageError(f"--average-views of {path.name}", expected="a model that was trained with views")
    if engine == KERAS:
        return Classifier(path, average_views=average_views), KERAS, ""
    pixels = np.stack([one.pixels for one in _prepared(read_card(path).sizing)])
    if engine != FASTEST:
        runner, found = _exported(path, engine, pixels)
        return Classifier(path, average_views=average_views, runner=runner), engine, _comparison([found])
    passed: list[tuple[Runner, Export]] = []
    refused: list[str] = []
    for format in FORMATS:
        try:
            passed.append(_exported(path, format, pixels))
        except FashionTuningError as error:  # not installed, or it differs: then it is none to choose
            refused.append(f"{format}: {error.received}")
    note = "; ".join(filter(None, (_comparison([found for _, found in passed]), *refused)))
    faster = [one for one in passed if _speed(one[1]) > 1]
    if not faster:
        return Classifier(path, average_views=average_views), KERAS, note
    runner, best = max(faster, key=lambda one: _speed(one[1]))
    return Classifier(path, average_views=average_views, runner=runner), best.format, note


def answers_as_measured(path: Path, classifier: Classifier) -> bool:
    """Whether a model averages over views where its figures do, its threshold of doubt among them."""
    card = read_card(path)
    return (classifier.num_views > 1) == (card.average and bool(card.views))


def try_out(loaded: Loaded) -> None:
    """Warms a model and tries it on drawn pictures, alone and in full batches.

    Raises:
      ParityError: It does not answer as a model of its classes has to.
    """
    classifier = loaded.classifier
    pictures = _prepared(classifier.sizing)
    together = classifier.answer(pictures)
    expected = (len(pictures), len(classifier.class_names))
    if together.shape != expected:
        raise ParityError(f"{loaded} answers {together.shape}", expected=f"{expected}: one probability for each class")
    if not np.isfinite(together).all() or np.abs(together.sum(1) - 1).max() > 1e-3 or together.min() < 0:
        raise ParityError(f"{loaded} gives no probabilities to a drawn picture", expected="numbers that sum to 1")
    for size in (1, 2):
        some = classifier.answer(pictures[:size])
        if (largest := float(np.abs(some - together[:size]).max())) > AGREEMENT:
            raise ParityError(
                f"{loaded} answers a picture alone and in a batch differently, by {largest:.2g}",
                expected=f"at most {AGREEMENT:g}",
            )


def sample() -> bytes:
    """The picture of the self-test, a PNG."""
    return _png(_LABELS[0])


def _exported(path: Path, format: str, pixels: np.ndarray) -> tuple[Runner, Export]:
    with scratch_folder() as folder:
        found = export(path, format, folder / f"model{FORMATS[format].suffix}", pixels=pixels)
        return load_runner(format, found.path), found


def _comparison(exports: Sequence[Export]) -> str:
    return "; ".join(
        f"{one.format}: {_speed(one):.2f} of Keras's images/s, probabilities within {one.largest_difference:.1g}"
        for one in exports
    )


def _speed(export: Export) -> float:
    """Images/s in the largest batch, as a multiple of Keras's in the same minute."""
    last = export.speeds[-1]
    return last.images_per_second / last.keras_images_per_second


def _prepared(sizing: Sizing) -> list[Prepared]:
    """A full batch of drawn pictures; a few, repeated."""
    few = [Prepared(decode(io.BytesIO(_png(label)), sizing), f"{place:064x}") for place, label in enumerate(_LABELS)]
    return (few * BATCH_SIZE)[:BATCH_SIZE]


@cache
def _png(label: str) -> bytes:
    content = io.BytesIO()
    draw_garment(label, seed=1, index=0).save(content, "PNG")
    return content.getvalue()
