"""One sentence per figure of what a study is set against, see outcome_charts.py."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fashion_tuning.evaluate import Evaluation
from fashion_tuning.report.material import Final, Trial
from fashion_tuning.wording import count, ordinal


def read_published(trials: Sequence[Trial]) -> str:
    """How ours stand to what was published, for the same configurations if not always for as many epochs."""
    differences = [trial.score - (trial.record.published_val_accuracy or 0.0) for trial in trials]
    within = sum(abs(one) <= trial.error for one, trial in zip(differences, trials, strict=True))
    return (
        f"Ours are within one standard error of {within} of {count(len(trials), 'published figure')}, and"
        f" {_apart(float(np.mean(differences)))} on average;"
        f" ours had {_span_of([trial.record.epochs for trial in trials])} epochs, theirs as many as the source says."
    )


def read_sizes(final: Final, *, small: int) -> str:
    """Whether the study's size predicts the final one."""
    if final.correlation is None:
        what = "configuration says" if len(final.pairs) == 1 else "configurations say"
        return f"{len(final.pairs)} {what} nothing of the ranks at the two sizes."
    value, low, high = final.correlation
    top = max(final.pairs, key=lambda pair: pair.small)
    place = 1 + sum(pair.large > top.large for pair in final.pairs)
    if low > 0:
        certainty = "so they go together"
    elif high < 0:
        certainty = "so what is good at one size is bad at the other"
    else:
        certainty = "so it can't be told whether they go together"
    return (
        f"Ranks at {small} and {final.image_size} px correlate with {value:.2f} (Spearman, 95% interval {low:.2f} to"
        f" {high:.2f}, {len(final.pairs)} configurations), {certainty}; the best at {small} px is"
        f" {ordinal(place)} at {final.image_size} px."
    )


def read_confusion(evaluation: Evaluation) -> str:
    """Accuracy with its interval, and the most frequent mistake."""
    figures = evaluation.figures
    accuracy = (
        f"{evaluation.split.capitalize()} accuracy {figures.accuracy:.4f}, 95% interval {figures.low:.4f} to"
        f" {figures.high:.4f}, {figures.num_images} photos, look {evaluation.look}{_mean(evaluation)}"
    )
    mistakes = figures.confusion - np.diag(np.diag(figures.confusion))
    if not mistakes.any():
        return f"{accuracy}; no photo was taken for another category."
    true, predicted = (int(one) for one in np.unravel_index(mistakes.argmax(), mistakes.shape))
    return (
        f"{accuracy}; most often {figures.classes[true].name} is taken for {figures.classes[predicted].name}:"
        f" {mistakes[true, predicted]} of {figures.classes[true].support} photos."
    )


def read_calibration(evaluation: Evaluation) -> str:
    """Whether the model is surer than it is right."""
    figures = evaluation.figures
    confidence = sum(one.confidence * one.count for one in figures.bins) / figures.num_images
    difference = confidence - figures.accuracy
    apart = f"{abs(difference):.3f}"
    how = "as sure as" if apart == "0.000" else f"{apart} {'surer' if difference > 0 else 'less sure'} than"
    return (
        f"The model is {how} right on average (mean confidence {confidence:.3f}, accuracy"
        f" {figures.accuracy:.3f}); expected calibration error {figures.calibration_error:.3f}."
    )


def _apart(difference: float) -> str:
    if f"{abs(difference):.4f}" == "0.0000":
        return "as high as they are"
    return f"{abs(difference):.4f} {'above' if difference > 0 else 'below'} them"


def _mean(evaluation: Evaluation) -> str:
    return f", mean of {evaluation.num_views} views each" if evaluation.num_views > 1 else ""


def _span_of(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"
