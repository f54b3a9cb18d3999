"""A study's report: a page and its figures in a folder, and in the study's MLflow run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fashion_tuning.files import disk_errors, write_text
from fashion_tuning.report.comparison import comparison_sections
from fashion_tuning.report.description import VIEW, describe_experiment, describe_study
from fashion_tuning.report.drawing import as_png, as_svg, standalone
from fashion_tuning.report.material import Material, read_material
from fashion_tuning.report.page import render
from fashion_tuning.report.section import Section
from fashion_tuning.report.sections import make_sections
from fashion_tuning.study.comparison import Comparison
from fashion_tuning.tracking.notes import renew_experiment_note, renew_run_note
from fashion_tuning.tracking.records import StudyRecord
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.tag_names import KIND, PARENT
from fashion_tuning.tracking.views import METRIC, PARAMETER, write_view
from fashion_tuning.wording import count, shared_pictures

PAGE = "report.html"
ARTIFACT = "report"


@dataclass(frozen=True)
class Report:
    """Where a report lies, and what its figures say."""

    page: Path
    num_figures: int
    readings: tuple[str, ...]


def write_report(store: Store, study: StudyRecord, folder: Path) -> Report:
    """Writes a study's report to a folder, and to its run as report/; the run and its experiment are described anew.

    Raises:
      NoTrialError: The study has no completed trial.
      StoreError: The store can't be read or written.
      DiskError: The folder can't be written.
    """
    material = read_material(store, study)
    sections = make_sections(material)
    report, files = _write(
        folder,
        sections,
        title=f"{study.experiment}: {count(len(material.trials), 'trial')}",
        lead=_lead(material),
        drawn=study.photos == "drawn",
    )
    for path in files:
        store.upload(study.run_id, path, ARTIFACT)
    _describe(store, material)
    return report


def _describe(store: Store, material: Material) -> None:
    """The study's run and its experiment say what was found, and the experiment has a view of the trials."""
    study = material.study
    experiment_id = store.make_experiment(study.experiment, description="")
    renew_run_note(store, study.run_id, describe_study(material, experiment_id=experiment_id))
    write_view(
        store,
        experiment_id,
        VIEW,
        name="trials, best first",
        search=f"tags.`{KIND}` = 'trial' and tags.`{PARENT}` = '{study.run_id}'",
        order_by=METRIC.format("best_val_accuracy"),
        columns=[
            *(METRIC.format(name) for name in ("best_val_accuracy", "best_val_accuracy_se", "best_epoch", "seconds")),
            *(PARAMETER.format(name) for name in material.board.hyperparameters),
        ],
    )
    renew_experiment_note(store, experiment_id, describe_experiment(material, experiment_id=experiment_id))


def write_comparison(comparison: Comparison, folder: Path) -> Report:
    """Writes the report of several studies to a folder.

    Raises:
      DiskError: The folder can't be written.
    """
    studies = [board.study for board in comparison.boards]
    report, _ = _write(
        folder,
        comparison_sections(comparison),
        title=" against ".join(dict.fromkeys(one.experiment for one in studies)),
        lead=[f"{len(studies)} studies, {count(len(comparison.rows), 'completed trial')}."],
        drawn=any(one.photos == "drawn" for one in studies),
    )
    return report


def _lead(material: Material) -> list[str]:
    card, study = material.card, material.study
    lead = [card.description] if card.description else []
    failed = f", {len(material.failures)} failed" if material.failures else ""
    state = "" if study.status == "FINISHED" else f" The study is {study.status}: it is not at its end."
    trials = count(len(material.trials), "completed trial")
    shared = [f"{shared_pictures(material.shared)}; fashion-tuning data lists them."] if material.shared else []
    return [*lead, f"{trials}{failed}; study {study.digest}.{state}", *shared]


def _write(
    folder: Path, sections: Sequence[Section], *, title: str, lead: Sequence[str], drawn: bool
) -> tuple[Report, list[Path]]:
    """Writes page and figures; also returns their files."""
    drawings = {one.name: one.figure for one in sections if one.figure is not None}
    figures = {name: as_svg(figure, name) for name, figure in drawings.items()}
    page = folder / PAGE
    files = [page]
    instead = "name another folder with --output"
    with disk_errors(folder, instead=instead):
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in drawings.items():
            svg, png = folder / f"{name}.svg", folder / f"{name}.png"
            write_text(svg, standalone(figures[name]), instead=instead)
            png.write_bytes(as_png(figure))
            files += [svg, png]
        write_text(page, render(sections, figures, title=title, lead=lead, drawn=drawn), instead=instead)
    return Report(page, len(figures), tuple(line for one in sections for line in one.readings)), files
