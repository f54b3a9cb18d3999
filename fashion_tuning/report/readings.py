"""One sentence per figure of a study's own trials, made from its numbers: nothing is said that they do not say."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

from fashion_tuning.hyperparameters import Value, rounded, shown
from fashion_tuning.report.axes import Axis
from fashion_tuning.report.importance import Importance
from fashion_tuning.report.material import Failure, Trial
from fashion_tuning.wording import count, ordinal

NUM_DRAWS = 1000


def read_history(trials: Sequence[Trial]) -> str:
    """When the best was found, and how many others noise can't tell from it."""
    best = min(trials, key=lambda trial: trial.row.rank)
    if len(trials) == 1:
        return f"The only completed trial scored {best.score:.4f}, with a standard error of {best.error:.4f}."
    place = [trial.number for trial in trials].index(best.number) + 1
    within = sum(abs(trial.score - best.score) <= best.error for trial in trials) - 1
    return (
        f"The best score, {best.score:.4f}, came with the {ordinal(place)} of {len(trials)} completed trials"
        f" (trial {best.number:02d}); {count(within, 'other score')} {_lies(within)} within its standard error"
        f" of {best.error:.4f}."
    )


def read_importance(importances: Sequence[Importance], axes: Sequence[Axis], *, num_trials: int) -> str:
    """Whether the evaluators agree on what matters most, and how sure each is."""
    labels = {axis.name: axis.label for axis in axes}
    if not importances:
        return "Importance is not estimated: it takes a search over two hyperparameters and eight trials that differ."
    tops = [(one.evaluator, one.shares[0]) for one in importances]
    names = {share.name for _, share in tops}
    shares = ", ".join(
        f"{labels.get(share.name, share.name)} {share.value:.2f} by {evaluator}" for evaluator, share in tops
    )
    sure = [one.evaluator for one in importances if one.shares[0].low > one.shares[1].high]
    certainty = (
        f"the 90% intervals keep the first two apart for {_listed(sure)} only"
        if 0 < len(sure) < len(importances)
        else f"the 90% intervals {'keep the first two apart for all of them' if sure else 'of the first two overlap'}"
    )
    if len(names) == 1:
        return f"All {len(tops)} evaluators put the same first ({shares}); on {num_trials} trials {certainty}."
    return f"The evaluators disagree on what matters most ({shares}); on {num_trials} trials {certainty}."


def read_parallel(trials: Sequence[Trial], axes: Sequence[Axis]) -> str:
    """What the trials that tie with the best have in common."""
    tied = [trial for trial in trials if trial.row.tied]
    if len(tied) == 1:
        named = {axis: tied[0].values[axis.name] for axis in axes if axis.name in tied[0].values}
        values = ", ".join(f"{axis.label} {rounded(value)}" for axis, value in named.items())
        return f"No other trial ties with the best, which has {values}."
    found = {axis: [trial.values[axis.name] for trial in tied if axis.name in trial.values] for axis in axes}
    spans = _listed(
        [
            f"{axis.label} {_span(values, axis)}" + (f" ({len(values)} of them)" if len(values) < len(tied) else "")
            for axis, values in found.items()
            if values
        ]
    )
    return f"The {len(tied)} trials that tie, the best among them, have {spans}."


def read_slice(trials: Sequence[Trial], axis: Axis) -> str:
    """Of one hyperparameter, where trials that tie with the best lie and what is reached elsewhere."""
    trials = [trial for trial in trials if axis.name in trial.values]  # it may be active in some only
    tied = [trial for trial in trials if trial.row.tied]
    if not tied:
        reached = max(trial.score for trial in trials)
        what = f"none of the {count(len(trials), 'trial')} that have one ties with the best"
        return f"{axis.label}: {what}, the highest is {reached:.4f}."
    if axis.choices:
        good = {trial.values[axis.name] for trial in tied}
        seen = [one for one in axis.choices if any(trial.values[axis.name] == one for trial in trials)]
        bad = [one for one in seen if one not in good]
        unseen = [shown(one) for one in axis.choices if one not in seen]
        rest = f"; {_listed(unseen)} {'was' if len(unseen) == 1 else 'were'} not tried" if unseen else ""
        if not bad:
            return (
                f"{axis.label}: {_listed([shown(one) for one in seen])} can't be told apart on these {len(trials)}"
                f" trials, each has one that ties with the best{rest}."
            )
        reached = max(trial.score for trial in trials if trial.values[axis.name] in bad)
        return (
            f"{axis.label}: no trial with {_either([shown(one) for one in bad])} ties with the best;"
            f" the highest there is {reached:.4f}{rest}."
        )
    values = {trial.number: float(trial.values[axis.name]) for trial in trials}
    low, high = (end(values[trial.number] for trial in tied) for end in (min, max))
    parts = []
    for where, edge, outside in (
        ("below", low, [trial for trial in trials if values[trial.number] < low]),
        ("above", high, [trial for trial in trials if values[trial.number] > high]),
    ):
        if outside:
            reached = max(trial.score for trial in outside)
            what = f"none of the {len(outside)} trials ties" if len(outside) > 1 else "the one trial does not tie"
            parts.append(f"{where} {edge:.3g} {what} with the best, the highest is {reached:.4f}")
    if not parts:
        return f"{axis.label}: trials at both ends of what was tried tie with the best."
    return f"{axis.label}: {'; '.join(parts)}."


def read_contours(trials: Sequence[Trial], axes: Sequence[Axis]) -> str:
    """Of each pair of hyperparameters the quarter with the best and the one with the worst mean score."""
    sentences = []
    for first, second in ((a, b) for place, a in enumerate(axes) for b in axes[place + 1 :]):
        quarters: dict[tuple[str, str], list[float]] = {}
        for trial in trials:
            if first.name in trial.values and second.name in trial.values:
                key = _part(first, trial.values[first.name]), _part(second, trial.values[second.name])
                quarters.setdefault(key, []).append(trial.score)
        if len(quarters) < 2:
            continue
        means = {key: float(np.mean(scores)) for key, scores in quarters.items()}
        good, bad = (end(means, key=lambda key: means[key]) for end in (max, min))
        worst = "the one trial" if len(quarters[bad]) == 1 else f"the {len(quarters[bad])} trials"
        sentences.append(
            f"{worst} with {' and '.join(bad)} {_average(quarters[bad])} {means[bad]:.4f},"
            f" against {means[good]:.4f} with {' and '.join(good)}"
        )
    if not sentences:
        return "All trials lie in one corner of the space."
    text = "; ".join(sentences)
    return f"{text[0].upper()}{text[1:]}."


def read_curves(best: Trial, median: Trial, failures: Sequence[Failure]) -> str:
    """Where the curves peak, and what training longer has cost or might still bring."""
    parts = [_peak(best, "the best")]
    if median.number != best.number:
        parts.append(_peak(median, "the median"))
    text = "; ".join(parts)
    failed = f" {len(failures)} failed, see below." if failures else ""
    return f"{text[0].upper()}{text[1:]}.{failed}"


def read_gap(trials: Sequence[Trial]) -> str:
    """Whether the generalization gap goes with dropout."""
    dropout, gaps = [float(trial.values["dropout"]) for trial in trials], [trial.gap for trial in trials]
    note = "accuracy in training is measured with dropout on, which lowers it"
    value, low, high = correlation(dropout, gaps)
    if not math.isfinite(value) or not math.isfinite(low):
        return f"Too few different dropout rates to say how the gap goes with them; {note}."
    span = f"rank correlation {value:.2f}, 95% interval {low:.2f} to {high:.2f}, {len(trials)} trials"
    if low <= 0 <= high:
        return f"Whether the gap goes with dropout can't be told ({span}); {note}."
    return f"The gap {'shrinks' if value < 0 else 'grows'} as dropout rises ({span}); {note}."


def read_cost(trials: Sequence[Trial], front: Sequence[Trial]) -> str:
    """The cheapest trial that ties with the best."""
    best = min(trials, key=lambda trial: trial.row.rank)
    cheapest = min((trial for trial in trials if trial.row.tied), key=lambda trial: trial.seconds)
    on = f"{count(len(front), 'trial')} {'is' if len(front) == 1 else 'are'} on the Pareto front"
    if cheapest.number == best.number:
        return f"{on}; no trial that ties with the best is cheaper than it ({best.seconds:.1f} s)."
    return (
        f"{on}; trial {cheapest.number:02d} ties with the best and took {cheapest.seconds:.1f} s against"
        f" {best.seconds:.1f} s."
    )


def read_seeds(trials: Sequence[Trial]) -> str:
    """How far seeds lie apart, beside what the photos leave open."""
    if len(trials[0].row.seeds) < 2:
        return "One seed per trial: their spread is not known."
    ranges = {trial.number: max(trial.row.seeds) - min(trial.row.seeds) for trial in trials}
    widest = max(ranges, key=lambda number: ranges[number])
    spread = float(np.median(list(ranges.values())))
    error = float(np.median([trial.error for trial in trials]))
    return (
        f"The seeds of a trial lie {spread:.4f} apart (median), at most {ranges[widest]:.4f} (trial {widest:02d});"
        f" the standard error, photos included, is {error:.4f} (median)."
    )


def correlation(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """Spearman's rank correlation with a 95% percentile bootstrap interval over pairs; NaN where it says nothing."""
    a, b = np.asarray(first, float), np.asarray(second, float)
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan, math.nan, math.nan
    rows = np.random.default_rng(0).integers(0, len(a), (NUM_DRAWS, len(a)))
    draws = [
        float(spearmanr(a[some], b[some]).statistic) for some in rows if np.ptp(a[some]) > 0 and np.ptp(b[some]) > 0
    ]
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(spearmanr(a, b).statistic), float(low), float(high)


def pareto_front(trials: Sequence[Trial]) -> list[Trial]:
    """Trials that no other beats in score without taking longer, cheapest first."""
    front: list[Trial] = []
    for trial in sorted(trials, key=lambda one: (one.seconds, -one.score)):
        if not front or trial.score > front[-1].score:
            front.append(trial)
    return front


def _peak(trial: Trial, what: str) -> str:
    last, peak = len(trial.val_accuracy), trial.best_epoch
    name = f"{what} (trial {trial.number:02d})"
    if peak == last:
        return f"{name} was highest at its last epoch, {last}: more of them might help"
    lost = trial.val_accuracy[peak - 1] - trial.val_accuracy[-1]
    end = f"{lost:.4f} lower" if f"{lost:.4f}" != "0.0000" else "as high"
    return f"{name} peaked at epoch {peak} of {last} and ended {end}"


def _span(values: Sequence[Value], axis: Axis) -> str:
    if axis.choices:
        return _either([shown(one) for one in axis.choices if one in values])
    low, high = min(map(float, values)), max(map(float, values))
    return f"{low:.3g}" if low == high else f"from {low:.3g} to {high:.3g}"


def _part(axis: Axis, value: Value) -> str:
    """Which half of an axis a value lies in; of words each is a part by itself."""
    if not axis.has_order:
        return f"{axis.label} {value}"
    return f"{'high' if axis.position(value) > 0.5 else 'low'} {axis.label}"


def _average(scores: Sequence[float]) -> str:
    return "reached" if len(scores) == 1 else "average"


def _lies(number: int) -> str:
    return "lies" if number == 1 else "lie"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _either(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"
