"""What is measured of a classifier's probabilities: plain functions of arrays, with where each comes from."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

_KEY = 200  # letters of a class in a metric's name
NUM_BINS = 10
SURE = 0.95  # of the answers that a service gives without a word of doubt so many are right on validation


@dataclass(frozen=True)
class ClassFigures:
    """Of one class: shares in 0..1, and how many photos it has. A share without a photo behind it is 0."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Bin:
    """One bar of a reliability diagram: photos whose highest probability lies in (low, high]."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Figures:
    """All that is measured of one model on one split.

    Args:
      accuracy, low, high: Share of photos whose likeliest class is the true one, with its 95% Wilson interval.
      accuracy_at_train_priors: The same if the classes were as frequent as in train; a class without a photo
        here is left out of it.
      top_2, top_3: Share whose true class is among the two or three likeliest.
      log_loss: Mean cross-entropy in nats.
      calibration_error: Expected calibration error, see `reliability`.
      confusion: (classes, classes) int, true classes in rows.
    """

    num_images: int
    accuracy: float
    low: float
    high: float
    accuracy_at_train_priors: float
    macro_f1: float
    top_2: float
    top_3: float
    log_loss: float
    calibration_error: float
    classes: tuple[ClassFigures, ...]
    confusion: np.ndarray
    bins: tuple[Bin, ...]

    def metrics(self) -> dict[str, float]:
        """The single numbers by name."""
        names = ("accuracy", "accuracy_at_train_priors", "macro_f1", "top_2", "top_3", "log_loss", "calibration_error")
        found = {name: float(getattr(self, name)) for name in names}
        found |= {"accuracy_low": self.low, "accuracy_high": self.high, "num_images": float(self.num_images)}
        for number, one in enumerate(self.classes, 1):
            key = re.sub(r"[^\w. -]", "_", one.name)[:_KEY]  # what MLflow allows in a metric's name, of 250 letters
            while f"recall/{key}" in found:
                key = f"{key} {number}"
            found |= {f"precision/{key}": one.precision, f"recall/{key}": one.recall, f"f1/{key}": one.f1}
        return found


def measure(
    probabilities: np.ndarray, labels: np.ndarray, *, class_names: tuple[str, ...], train_counts: np.ndarray
) -> Figures:
    """Measures (images, classes) probabilities against (images,) labels.

    Args:
      train_counts: (classes,) how many photos of each class the model was trained on.

    Raises:
      ValueError: There is no photo.
    """
    if not len(labels):
        raise ValueError("there is no photo to measure on")
    every = np.arange(len(class_names))
    predicted = probabilities.argmax(-1)
    hits = predicted == labels
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0.0)
    classes = tuple(
        ClassFigures(name, float(precision[n]), float(recall[n]), float(f1[n]), int(support[n]))
        for n, name in enumerate(class_names)
    )
    low, high = wilson_interval(int(hits.sum()), len(hits))
    bins = reliability(probabilities, labels)
    ranks = np.argsort(np.argsort(-probabilities, axis=-1, kind="stable"), axis=-1)[np.arange(len(labels)), labels]
    exact = probabilities.astype(np.float64)
    return Figures(
        num_images=len(labels),
        accuracy=float(hits.mean()),
        low=low,
        high=high,
        accuracy_at_train_priors=accuracy_at_priors(hits, labels, counts=train_counts),
        macro_f1=float(np.mean([one.f1 for one in classes if one.support])),
        top_2=float((ranks < 2).mean()),
        top_3=float((ranks < 3).mean()),
        log_loss=float(log_loss(labels, exact / exact.sum(-1, keepdims=True), labels=every)),
        calibration_error=sum(one.count * abs(one.accuracy - one.confidence) for one in bins) / len(labels),
        classes=classes,
        confusion=confusion_matrix(labels, predicted, labels=every),
        bins=bins,
    )


def wilson_interval(successes: int, total: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22, 209)."""
    interval = binomtest(successes, total).proportion_ci(confidence_level=confidence, method="wilson")
    return float(interval.low), float(interval.high)


def accuracy_at_priors(hits: np.ndarray, labels: np.ndarray, *, counts: np.ndarray) -> float:
    """Accuracy if the classes were as frequent as in `counts`: their recalls, weighted by those.

    Saerens, Latinne and Decaestecker 2002, Neural Computation 14, section 2: priors shift, recalls stay.
    """
    present = np.unique(labels)
    recalls = np.array([hits[labels == one].mean() for one in present])
    weights = counts[present].astype(float)
    return float((recalls * weights).sum() / weights.sum())


def reliability(probabilities: np.ndarray, labels: np.ndarray, *, num_bins: int = NUM_BINS) -> tuple[Bin, ...]:
    """Photos by the highest probability they got, in bins of equal width; empty bins are left out.

    Their mean absolute gap between confidence and accuracy, weighted by photos, is the expected
    calibration error (Guo et al. 2017, arXiv:1706.04599, equation 5).
    """
    confidence = probabilities.max(-1)
    hits = probabilities.argmax(-1) == labels
    place = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
    return tuple(
        Bin(
            low=n / num_bins,
            high=(n + 1) / num_bins,
            count=int((place == n).sum()),
            confidence=float(confidence[place == n].mean()),
            accuracy=float(hits[place == n].mean()),
        )
        for n in range(num_bins)
        if (place == n).any()
    )


@dataclass(frozen=True)
class PairedTest:
    """McNemar's exact test of two models on the same photos.

    Args:
      only_first, only_second: Photos that one of them alone has right.
      p_value: Of both sides, under "either is as likely to be right alone".
    """

    only_first: int
    only_second: int
    p_value: float

    @property
    def first_is_worse(self) -> bool:
        """Whether the first is worse and luck explains it in less than one case of twenty."""
        return self.only_first < self.only_second and self.p_value < 0.05


def mcnemar(first: np.ndarray, second: np.ndarray) -> PairedTest:
    """Compares two models by the photos that one alone has right; (images,) bool each.

    McNemar 1947, Psychometrika 12, 153, in its exact form: a sign test.

    Raises:
      ValueError: Not the same number of photos.
    """
    if first.shape != second.shape:
        raise ValueError(f"pairs need the same photos, received {first.shape} and {second.shape}")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    total = only_first + only_second
    p_value = float(binomtest(only_first, total).pvalue) if total else 1.0
    return PairedTest(only_first, only_second, p_value)


def sure_from(probabilities: np.ndarray, labels: np.ndarray, *, precision: float = SURE) -> float:
    """The lowest probability from which on answers are right often enough.

    Of the answers whose highest probability is at least this, a share of `precision` or more is right. Where no
    probability does that it is 1: then hardly an answer counts as sure, and rightly so.

    Args:
      probabilities: (images, classes) float, of photos that the model was not trained on.
      labels: (images,) int.
    """
    confidence = probabilities.max(-1)
    order = np.argsort(-confidence, kind="stable")
    hits = np.cumsum(probabilities.argmax(-1)[order] == labels[order])
    enough = hits / np.arange(1, 1 + len(hits)) >= precision
    # Equal probabilities are accepted together, so only the last of each counts.
    enough &= np.append(np.diff(confidence[order]) != 0, True)
    return float(confidence[order][np.flatnonzero(enough)[-1]]) if enough.any() else 1.0
