"""The model card of a registered version, Markdown, made of what its runs say."""

from __future__ import annotations

from collections.abc import Sequence

from fashion_tuning.backbones import BACKBONES, NO_CUT
from fashion_tuning.final.outcome import Outcome
from fashion_tuning.hyperparameters import all_values, setting
from fashion_tuning.measures import ClassFigures
from fashion_tuning.study.inputs import StudyInputs, averages
from fashion_tuning.wording import shared_pictures

# A version's description is cut at 5,000 letters, by some databases with an error; all else here has up to 3,000.
_LIST, _TABLE = 500, 1500
_SHAPES = {
    "squash": "squashed into a square",
    "pad": "fitted into a square, the rest of it grey,",
    "crop": "cut to the square in the middle, at a size",
}


def model_card(outcome: Outcome, inputs: StudyInputs) -> str:
    """Data, training, figures and limits of a model (Mitchell et al. 2019, arXiv:1810.03993)."""
    winner, dataset, images = outcome.winner, inputs.dataset, inputs.card.images
    counts = dataset.manifest.counts()
    num = {split: sum(labels.values()) for split, labels in counts.items()}
    metrics = winner.metrics
    weights = inputs.weights[inputs.card.backbone_of(winner.values)]
    cut = setting("cut", winner.values)
    frozen = "frozen" if cut == NO_CUT else f"frozen before {cut}"
    lines = [
        f"Suggests the category of a garment from its photo: {_named(dataset.manifest.classes)}.",
        "",
        "### Data",
        f"- {dataset.name}, manifest `{dataset.manifest.digest}`: {num['train']} photos to train on,"
        f" {num['validation']} to choose by, {num['test']} to measure on",
        f"- decoded upright as RGB, {_SHAPES[images.aspect]} of {images.image_size} pixels a side"
        f" ({images.interpolation})",
        "",
        "### Training",
        f"- {BACKBONES[weights.name].application} with ImageNet weights `{weights.digest}`, {frozen};"
        f" a head with {all_values(winner.values)}",
        f"- seed 1 of {winner.parameters['seeds']}, epoch {metrics['best_epoch']:.0f}, where the mean validation"
        " accuracy over the seeds was highest: fixed beforehand, not the luckiest seed",
        f"- final run `{outcome.final.run_id}`, trial `{winner.run_id}`, study `{outcome.final.study}`",
        "",
        "### Figures",
        f"- validation, mean over seeds: {metrics['best_val_accuracy']:.4f} ± {metrics['best_val_accuracy_se']:.4f}"
        " (standard error); the model was chosen by it, so that it flatters",
    ]
    evaluation, figures = outcome.evaluation, outcome.evaluation.figures
    if averages(inputs.card):
        lines[-1] += "; probabilities are means over each photo and the views that it trained on"
    mean = f", mean of {evaluation.num_views} views each" if evaluation.num_views > 1 else ""
    lines += [
        f"- test, look {evaluation.look}{mean}: accuracy {figures.accuracy:.4f}, 95% interval"
        f" {figures.low:.4f} to {figures.high:.4f}; among the first three {figures.top_3:.4f};"
        f" expected calibration error {figures.calibration_error:.3f}",
        "",
        *_table(figures.classes),
    ]
    lines += [
        "",
        "### Limits",
        "- One garment in the picture, and one of these categories: anything else gets one of them all the same.",
        "- Its figures hold for photos like those of this data set, which are no sample of a shop's.",
        "- Classes are not equally frequent, and not equally so in every split.",
    ]
    if shared := dataset.verification.shared:
        lines += [f"- {shared_pictures(shared)}; it may have been measured on what it had learned."]
    if dataset.kind == "drawn":
        lines += ["- **Made of drawn garments, not of photos: of no use for real ones.**"]
    return "\n".join(lines)


def _named(classes: Sequence[str]) -> str:
    """The classes, or as many of them as there is room for."""
    shown = _fitting([f"{name}, " for name in classes], room=_LIST)
    more = f" and {len(classes) - len(shown)} more" if len(shown) < len(classes) else ""
    return "".join(shown).removesuffix(", ") + more


def _table(classes: Sequence[ClassFigures]) -> list[str]:
    """A row for each class, or for as many of them as there is room for; nothing is measured without a photo."""
    rows = [
        f"| {_cell(row.name)} | {row.precision:.2f} | {row.recall:.2f} | {row.f1:.2f} | {row.support} |"
        if row.support
        else f"| {_cell(row.name)} | - | - | - | 0 |"
        for row in classes
    ]
    shown = _fitting(rows, room=_TABLE)
    more = [f"and {len(rows) - len(shown)} more in classes.csv of the evaluation run"] if len(shown) < len(rows) else []
    return [
        "| class | precision | recall | F1 | photos |",
        "|---|---|---|---|---|",
        *shown,
        *(["", *more] if more else []),
    ]


def _cell(name: str) -> str:
    return name.replace("|", "\\|")


def _fitting(texts: Sequence[str], *, room: int) -> list[str]:
    shown: list[str] = []
    for text in texts:
        room -= len(text) + 1
        if room < 0:
            break
        shown.append(text)
    return shown
