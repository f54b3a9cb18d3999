"""Figures as PNG files: confusion matrix, reliability diagram, the worst mistakes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fashion_tuning.data.decode import UnreadableImageError, open_rgb
from fashion_tuning.lettering import lettered, shortened
from fashion_tuning.measures import Bin
from fashion_tuning.wording import ordinal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI: Final = 120
MAX_COUNTED: Final = 30  # classes
LONGEST_NAME: Final = 26  # Latin letters
NUM_CONFUSED: Final = 20
_LIST: Final = 2.6  # inches
_TILE: Final = 20  # letters above a photo
_LETTERS_PER_INCH: Final = 11.0  # of a title


@dataclass(frozen=True)
class Mistake:
    """A photo whose likeliest class is not the true one, and how sure the model was of it."""

    path: Path
    label: str
    predicted: str
    probability: float


def draw_confusion(confusion: np.ndarray, class_names: Sequence[str], *, title: str, target: Path) -> None:
    """A confusion matrix as a file."""
    width, height = confusion_size(class_names)
    with _figure(target, width=width, height=height, title=title, texts=class_names) as figure:
        plot_confusion(figure, confusion, class_names)


def confusion_size(class_names: Sequence[str]) -> tuple[float, float]:
    """(width, height) in inches of a figure that can hold a confusion matrix."""
    side = min(6.8 + 0.15 * max(0, len(class_names) - 12), 14.0)
    return side + 0.8 + (_LIST if len(class_names) > MAX_COUNTED else 0.0), side


def plot_confusion(figure: Figure, confusion: np.ndarray, class_names: Sequence[str]) -> None:
    """A confusion matrix: counts in the cells, colours by the share of the true class.

    Of more than MAX_COUNTED classes no cell can hold a number, nor each row a name: then the pairs that are confused
    most stand beside it.
    """
    from matplotlib.colors import PowerNorm

    num, few = len(class_names), len(class_names) <= MAX_COUNTED
    points = 72 * figure.get_figheight() * 0.6  # of an axis; the rest is for names and title
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    if few:
        axes = figure.subplots()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        _count_in_cells(axes, confusion, shares, cell=points / num)
    else:
        axes, beside = figure.subplots(1, 2, width_ratios=(figure.get_figwidth() - _LIST, _LIST))
        # Of many classes most shares are small: the square root sets them apart from none.
        image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
        _list_confused(beside, confusion, class_names)
    size = 10.0 if num <= 12 else 8.0 if few else 6.5
    step = next(step for power in range(9) for step in (10**power, 2 * 10**power, 5 * 10**power)
                if points / num * step >= 1.35 * size)  # fmt: skip
    shown = range(0, num, step)
    labels = shortened([class_names[number] for number in shown], longest=LONGEST_NAME)
    slanted: dict[str, Any] = (
        {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if num <= 12 else {"rotation": 90}
    )
    axes.set_xticks(shown, labels, fontsize=size, **slanted)
    axes.set_yticks(shown, labels, fontsize=size)
    axes.set(xlabel="predicted", ylabel=f"true{f', every {ordinal(step)} of {num} classes named' if step > 1 else ''}")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8, fraction=0.06, pad=0.02)
    # Where units are equal along both axes, each look at the layout moves the names by some pixels: hence a margin.
    if (engine := figure.get_layout_engine()) is not None:
        engine.set(rect=(0.015, 0.01, 0.97, 0.98))  # type: ignore[call-arg]
    for _ in range(2):
        figure.draw_without_rendering()


def most_confused(confusion: np.ndarray, *, top: int) -> list[tuple[int, int, int]]:
    """(true, predicted, photos) of the pairs with the most mistakes, the most frequent first."""
    mistakes = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:top]
    pairs = [tuple(map(int, np.unravel_index(position, mistakes.shape))) for position in order]
    return [(true, predicted, int(mistakes[true, predicted])) for true, predicted in pairs if mistakes[true, predicted]]


def _count_in_cells(axes: Axes, confusion: np.ndarray, shares: np.ndarray, *, cell: float) -> None:
    """Numbers as large as the widest of them lets them be in a cell of so many points."""
    texts = {
        (row, column): str(photos) if photos < 10_000 else f"{photos / 1000:.0f}k"
        for (row, column), photos in np.ndenumerate(confusion)
        if photos
    }
    longest = max(map(len, texts.values()), default=1)
    size = min(9.0, 1.4 * cell / longest, 0.8 * cell)
    for (row, column), text in texts.items():
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)


def _list_confused(beside: Axes, confusion: np.ndarray, class_names: Sequence[str]) -> None:
    beside.axis("off")
    names, of = shortened(class_names, longest=LONGEST_NAME), confusion.sum(axis=1)
    lines = [
        f"{names[true]}\n  as {names[predicted]}: {photos} of {of[true]}"
        for true, predicted, photos in most_confused(confusion, top=NUM_CONFUSED)
    ]
    text = "\n".join(["confused most often", "", *lines]) if lines else "no photo was taken for another category"
    beside.text(0, 1, text, va="top", ha="left", fontsize=7, transform=beside.transAxes, linespacing=1.35)


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
        colour = "white" if one.accuracy > 0.06 else "black"  # beyond a bar that is too low to hold it
        axes.text(middle, 0.02, str(one.count), ha="center", color=colour, fontsize=8)
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
    texts = [name for mistake in mistakes for name in (mistake.label, mistake.predicted)]
    with _figure(target, width=1.7 * columns, height=2.3 * rows + 0.5, title=title, texts=texts) as figure:
        grid: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
        names = shortened(texts, longest=_TILE)
        for axes in grid:
            axes.axis("off")
        for position, (axes, mistake) in enumerate(zip(grid, mistakes, strict=False)):
            with suppress(UnreadableImageError):  # changed since it was scored: its tile stays empty
                photo = open_rgb(mistake.path)
                photo.thumbnail((300, 300))
                axes.imshow(photo)
            label, predicted = names[2 * position : 2 * position + 2]
            axes.set_title(f"{label}\nas {predicted} {mistake.probability:.2f}", fontsize=8)


@contextmanager
def _figure(target: Path, *, width: float, height: float, title: str, texts: Sequence[str] = ()) -> Iterator[Figure]:
    """A figure that is written at the end, with the letters of some texts."""
    # Without pyplot: no global state, and no display is looked for.
    from matplotlib.figure import Figure

    with lettered([title, *texts]):
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.suptitle(textwrap.fill(title, int(width * _LETTERS_PER_INCH)), fontsize=11)
        yield figure
        figure.savefig(target, dpi=DPI)
