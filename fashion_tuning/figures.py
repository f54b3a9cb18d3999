"""Figures as PNG files: confusion matrix, reliability diagram, the worst mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fashion_tuning.data.decode import UnreadableImageError, open_rgb
from fashion_tuning.measures import Bin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 120


@dataclass(frozen=True)
class Mistake:
    """A photo whose likeliest class is not the true one, and how sure the model was of it."""

    path: Path
    label: str
    predicted: str
    probability: float


def draw_confusion(confusion: np.ndarray, class_names: Sequence[str], *, title: str, target: Path) -> None:
    """A confusion matrix as a file."""
    with _figure(target, width=7.5, height=6.8, title=title) as figure:
        plot_confusion(figure, confusion, class_names)


def plot_confusion(figure: Figure, confusion: np.ndarray, class_names: Sequence[str]) -> None:
    """A confusion matrix: counts in the cells, colours by the share of the true class."""
    axes = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(confusion.shape):
        if confusion[row, column]:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(confusion[row, column]), ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(class_names)), class_names, rotation=45, ha="right")
    axes.set_yticks(range(len(class_names)), class_names)
    axes.set(xlabel="predicted", ylabel="true")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)


def draw_reliability(bins: Sequence[Bin], *, calibration_error: float, title: str, target: Path) -> None:
    """A reliability diagram as a file."""
    with _figure(target, width=6, height=6, title=title) as figure:
        plot_reliability(figure, bins, calibration_error=calibration_error)


def plot_reliability(figure: Figure, bins: Sequence[Bin], *, calibration_error: float) -> None:
    """Accuracy against confidence, photos counted in the bars; on the diagonal a probability means what it says."""
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", label="perfectly calibrated")
    middles = [(one.low + one.high) / 2 for one in bins]
    axes.bar(
        middles,
        [one.accuracy for one in bins],
        width=[one.high - one.low for one in bins],
        edgecolor="white",
        label=f"measured, expected calibration error {calibration_error:.3f}",
    )
    for middle, one in zip(middles, bins, strict=True):
        axes.text(middle, 0.02, str(one.count), ha="center", color="white", fontsize=8)
    axes.plot(
        [one.confidence for one in bins],
        [one.accuracy for one in bins],
        "D",
        color="tab:orange",
        label="mean confidence",
    )
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="highest probability", ylabel="accuracy", aspect="equal")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=8)  # above: any bar may reach the top


def draw_mistakes(mistakes: Sequence[Mistake], *, title: str, target: Path, columns: int = 6) -> None:
    """A contact sheet, the surest mistakes first."""
    rows = max(1, -(-len(mistakes) // columns))
    with _figure(target, width=1.7 * columns, height=2.2 * rows + 0.5, title=title) as figure:
        grid: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes in grid:
            axes.axis("off")
        for axes, one in zip(grid, mistakes, strict=False):
            with suppress(UnreadableImageError):  # changed since it was scored: its tile stays empty
                photo = open_rgb(one.path)
                photo.thumbnail((300, 300))
                axes.imshow(photo)
            axes.set_title(f"{one.label}\ntaken for {one.predicted} {one.probability:.2f}", fontsize=8)


@contextmanager
def _figure(target: Path, *, width: float, height: float, title: str) -> Iterator[Figure]:
    # Without pyplot: no global state, and no display is looked for.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=11)
    yield figure
    figure.savefig(target, dpi=DPI)
