"""Figures of few and many classes with names of any length: measured by the renderer, nothing over or beyond."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from legibility import faults
from matplotlib.figure import Figure
from PIL import Image

from fashion_tuning.data.drawn import draw_garment
from fashion_tuning.figures import (
    MAX_COUNTED,
    Mistake,
    confusion_size,
    draw_confusion,
    draw_mistakes,
    draw_reliability,
    most_confused,
    plot_confusion,
)
from fashion_tuning.lettering import lettered
from fashion_tuning.measures import Bin

LONG = "a category with a long name, which its owner needed, of summer garments in sizes up to XL, "
TITLE = "fashion-classifier-drawn version 12 on 3,721 validation photos: accuracy 0.9032 [0.8691, 0.9294]"


def confusion_of(num_classes: int, *, photos: int) -> np.ndarray:
    """Most of the mistakes lie near the diagonal."""
    random = np.random.default_rng(num_classes)
    confusion = np.diag(np.full(num_classes, photos))
    for true in range(num_classes):
        for predicted in random.integers(max(0, true - 3), min(num_classes, true + 4), 5):
            confusion[true, predicted] += photos // 10
    return confusion


@pytest.mark.parametrize(
    ("num_classes", "name", "photos"),
    [
        (1, "dress", 5),
        (10, "$5_x$ 100% \\alpha", 20),
        (12, LONG, 40),
        (MAX_COUNTED, LONG, 9999),
        (200, LONG, 40),
        (200, "class number ", 40),
    ],
)
def test_a_confusion_matrix_is_legible(num_classes: int, name: str, photos: int) -> None:
    names = [f"{name}{number}" for number in range(num_classes)]
    with lettered(names):
        figure = Figure(figsize=confusion_size(names), layout="constrained")
        figure.suptitle("Test, look 1")
        plot_confusion(figure, confusion_of(num_classes, photos=photos), names)
    assert faults(figure) == []
    axes = figure.axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(set(labels)) == len(labels)
    assert len(labels) >= min(num_classes, 25)
    # In the cells stand numbers or none, and in none of them so small that nobody could read them.
    assert bool(axes.texts) == (num_classes <= MAX_COUNTED)
    assert all(text.get_fontsize() >= 4.5 for text in axes.texts)
    assert max(confusion_size(names)) < 18


def test_of_many_classes_the_pairs_confused_most_are_listed() -> None:
    names, confusion = [f"class {number}" for number in range(50)], np.diag(np.full(50, 30))
    confusion[7, 9], confusion[3, 1] = 12, 20
    assert most_confused(confusion, top=9) == [(3, 1, 20), (7, 9, 12)]
    figure = Figure(figsize=confusion_size(names), layout="constrained")
    plot_confusion(figure, confusion, names)
    (text,) = figure.axes[1].texts
    assert "class 3\n  as class 1: 20 of 50" in text.get_text()
    plot_confusion(empty := Figure(layout="constrained"), np.diag(np.full(50, 30)), names)
    assert empty.axes[1].texts[0].get_text() == "no photo was taken for another category"


def test_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is written, with long titles, and none is cut at an edge."""
    photo = tmp_path / "photo.jpg"
    draw_garment("dress", seed=1, index=1).save(photo)
    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **settings: drawn.append(self) or save(self, *args, **settings)
    )
    confusion, names = confusion_of(3, photos=5), [f"{LONG}{number}" for number in range(3)]
    draw_confusion(confusion, names, title=TITLE, target=tmp_path / "confusion.png")
    bins = [Bin(0.0, 0.1, 3, 0.05, 0.0), Bin(0.9, 1.0, 3, 0.95, 1.0)]
    draw_reliability(bins, calibration_error=0.05, title=TITLE, target=tmp_path / "reliability.png")
    mistakes = [Mistake(photo, names[0], names[1], 0.99)] * 7
    draw_mistakes(mistakes, title=TITLE, target=tmp_path / "mistakes.png")
    draw_mistakes([], title=TITLE, target=tmp_path / "none.png")
    assert [faults(figure) for figure in drawn] == [[], [], [], []]
    for name in ("confusion", "reliability", "mistakes", "none"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert min(image.size) > 200
