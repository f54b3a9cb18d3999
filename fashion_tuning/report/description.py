"""What the MLflow UI says of a study and of its experiment: the leaderboard, and where to go from there."""

from __future__ import annotations

from fashion_tuning.hyperparameters import besides, usual
from fashion_tuning.report.material import Material
from fashion_tuning.report.readings import read_history, read_parallel, read_slice
from fashion_tuning.report.sections import shown_axes
from fashion_tuning.tracking.views import view_link
from fashion_tuning.wording import count

VIEW = "trials"
NUM_ROWS = 12  # a tag holds 5,000 letters


def describe_study(material: Material, *, experiment_id: str) -> str:
    """Markdown below a study run's own note: leaderboard, readings, links."""
    others = any(besides(trial.values) for trial in material.trials)
    trials, tied = material.ranked[:NUM_ROWS], sum(trial.row.tied for trial in material.trials)
    lines = [
        "### Leaderboard",
        "| rank | trial | learning rate | dense units | dropout | val accuracy |" + (" also |" if others else ""),
        "|---|---|---|---|---|---|" + ("---|" if others else ""),
    ]
    for trial in trials:
        mark = " =" if trial.row.tied and tied > 1 else ""
        link = f"[{trial.number:02d}]({_run(experiment_id, trial.record.run_id)})"
        chosen = " (chosen)" if trial.record == material.board.chosen else ""
        values, score = trial.values, f"{trial.score:.4f} ± {trial.error:.4f}"
        lines.append(
            f"| {trial.row.rank}{mark} | {link}{chosen} | {' | '.join(usual(values))} | {score} |"
            + (f" {besides(values)} |" if others else "")
        )
    if len(material.trials) > NUM_ROWS:
        lines.append(f"\nand {len(material.trials) - NUM_ROWS} more")
    axes = shown_axes(material)
    readings = [read_history(material.trials)]
    if axes:
        readings += [read_parallel(material.trials, axes), *(read_slice(material.trials, axis) for axis in axes)]
    lines += ["", "`=` ties with the best: paired difference within one standard error", "", "### In words"]
    lines += [f"- {reading}" for reading in readings]
    lines += ["", "### From here", "- the whole report: artifact `report/report.html`"]
    lines += _links(material, experiment_id)
    return "\n".join(lines)


def describe_experiment(material: Material, *, experiment_id: str) -> str:
    """Markdown below the experiment's purpose: newest study, final run, model."""
    study, best = material.study, material.best
    run = f"[study {study.digest[:8]}]({_run(experiment_id, study.run_id)})"
    lines = [
        "### Where it stands",
        f"- newest study with a report: {run}, {count(len(material.trials), 'completed trial')}",
        f"- its best: [trial {best.number:02d}]({_run(experiment_id, best.record.run_id)}),"
        f" {best.score:.4f} ± {best.error:.4f} validation accuracy",
        *_links(material, experiment_id),
        f"- [its trials, best first]({view_link(experiment_id, VIEW)}): select them and press Compare",
    ]
    return "\n".join(lines)


def _links(material: Material, experiment_id: str) -> list[str]:
    final = material.final
    if final is None:
        return ["- no final run yet: `fashion-tuning final-train` makes one"]
    link = _run(experiment_id, final.record.run_id)
    lines = [f"- final run at {final.image_size} px: [{final.record.digest[:8]}]({link})"]
    if final.model is not None:
        name, version = final.model
        lines.append(f"- registered model: [{name} version {version}](#/models/{name}/versions/{version})")
    if final.evaluation is not None:
        figures = final.evaluation.figures
        link = _run(experiment_id, final.evaluation.run_id)
        lines.append(
            f"- test, look {final.evaluation.look}: [accuracy {figures.accuracy:.4f}]({link}), 95% interval"
            f" {figures.low:.4f} to {figures.high:.4f}"
        )
    return lines


def _run(experiment_id: str, run_id: str) -> str:
    return f"#/experiments/{experiment_id}/runs/{run_id}"
