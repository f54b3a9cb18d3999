"""From what a person types to a final run, an evaluation, predictions, an export."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fashion_tuning.card_file import read_card_text
from fashion_tuning.config import load_card
from fashion_tuning.data.listing import describe_entries
from fashion_tuning.data.manifest import SPLITS
from fashion_tuning.errors import UsageError
from fashion_tuning.launch import draw_photos, find_inputs, find_photos, refuse_photos
from fashion_tuning.launch_report import report_at_end
from fashion_tuning.model.weights import get_all_weights
from fashion_tuning.paths import expand
from fashion_tuning.quiet import silent_stderr
from fashion_tuning.show_models import ModelTerminal
from fashion_tuning.study.executors import Worker
from fashion_tuning.wording import drawn_banner

if TYPE_CHECKING:
    from fashion_tuning.service.predict import Prediction


def start_final(
    name: str,
    *,
    cache_dir: Path,
    top: int,
    num_workers: int = 1,
    data_dir: Path | None = None,
    joining: Sequence[Path] = (),
    environment_dir: Path | None = None,
    tracking_uri: str | None = None,
    store_timeout: float | None = None,
    override: bool | None = None,
    with_report: bool = True,
    as_json: bool = False,
) -> None:
    """Runs or resumes the final run of a study, or of a card that fixes its configuration, and shows what came of it.

    Args:
      name: A card's path, or the name or run id of a study.
      override: See `final.final_train`.
      joining: Labelled folders whose photos join train, as in the study.

    Raises:
      FashionTuningError: Of the kind that says what a person has to do.
    """
    path = expand(name) if name.endswith(".toml") else None
    card = load_card(path) if path else None
    text = read_card_text(path) if path else ""
    if card is not None and card.photos == "drawn":
        refuse_photos(data_dir, f"{name}, a card")
    terminal = ModelTerminal(as_json=as_json)
    workers = [Worker() for _ in range(num_workers)]
    try:
        with silent_stderr():
            from fashion_tuning.final.job import make_job
            from fashion_tuning.final.train import final_train
            from fashion_tuning.study.events import Notice
            from fashion_tuning.study.finished import finished_study
            from fashion_tuning.study.lookup import find_study
            from fashion_tuning.study.recorded import read_recorded
            from fashion_tuning.tracking.store import PATIENCE, Store
        patience = PATIENCE if store_timeout is None else store_timeout
        store = Store(tracking_uri, must_exist=card is None or not card.is_fixed, patience=patience, tell=terminal.line)
        study, teacher = None, ""
        if card is None:
            study = find_study(store, name)
            recorded = read_recorded(store, study)
            card, text, teacher = recorded.card, recorded.card_text, recorded.teacher
        drawn = study is not None and study.photos == "drawn"
        if drawn:
            refuse_photos(data_dir, f"{name}, a study")
        if drawn:
            dataset = draw_photos(cache_dir=cache_dir, terminal=terminal)
        else:
            named = data_dir or environment_dir
            dataset = find_photos(card, named, joining=joining, cache_dir=cache_dir, terminal=terminal)
        inputs = find_inputs(card, text, dataset, store, cache_dir=cache_dir, terminal=terminal, teacher=teacher)
        terminal.banner(dataset)
        job = make_job(inputs, store, finished_study(store, inputs, study), top=top)
        with terminal.progress() as report:
            outcome = final_train(
                job, store, workers=workers, report=report, tell=lambda text: report(Notice(text)), override=override
            )
    finally:
        for worker in workers:
            worker.close()
    terminal.final(outcome)
    if with_report and job.study is not None:
        report_at_end(store, job.study, terminal)
    terminal.banner(dataset)


def start_evaluation(
    model: str,
    *,
    split: str,
    cache_dir: Path,
    average_views: bool | None = None,
    data_dir: Path | None = None,
    environment_dir: Path | None = None,
    tracking_uri: str | None = None,
    as_json: bool = False,
) -> None:
    """Measures a registered model on a split, records the look and shows it.

    Raises:
      FashionTuningError: Of the kind that says what a person has to do.
    """
    if split not in SPLITS:
        raise UsageError(f"split {split!r}", expected=f"one of {', '.join(SPLITS)}")
    terminal = ModelTerminal(as_json=as_json)
    worker = Worker()
    try:
        with silent_stderr():
            from fashion_tuning.evaluate import evaluate
            from fashion_tuning.service.registered import find_registered
            from fashion_tuning.tracking.store import Store
        store = Store(tracking_uri, must_exist=True, tell=terminal.line)
        registered = find_registered(store, model)
        with terminal.counting("features") as tell:
            root = registered.photos(data_dir, environment_dir, cache_dir=cache_dir)
            weights = get_all_weights(registered.backbones, cache_dir=cache_dir, progress=terminal.line)
            evaluation = evaluate(
                store,
                registered.subject,
                split=split,
                by="evaluate",
                worker=worker,
                weights=weights,
                root=root,
                cache_dir=cache_dir,
                average_views=average_views,
                tell=tell,
            )
    finally:
        worker.close()
    terminal.evaluation(evaluation)


def predictions(
    files: Sequence[Path],
    *,
    top: int,
    model: str,
    average_views: bool | None,
    tracking_uri: str | None,
    tell: Callable[[str], None],
) -> Iterator[Prediction]:
    """What a registered model says of each file, as soon as it is there; read-only.

    Args:
      tell: Told what is left out, which version answers, and what drawn garments are.

    Raises:
      FashionTuningError: Of the kind that says what a person has to do.
    """
    with silent_stderr():
        from fashion_tuning.model.classifier import Classifier
        from fashion_tuning.service.predict import photo_files, predict
        from fashion_tuning.service.readable import readable
        from fashion_tuning.tracking import registry
        from fashion_tuning.tracking.store import Store
    store = Store(tracking_uri, must_exist=True)
    version = registry.require_version(store, model)
    paths, left_out = photo_files(files)
    for line in describe_entries(left_out):
        tell(f"left out: {line}")
    if not paths:
        raise UsageError(f"no photo in {', '.join(map(str, files))}", expected="photos, or folders of them")
    with readable(version), registry.model_file(store, version) as path, silent_stderr():
        try:
            classifier = Classifier(path, average_views=average_views)
        except ValueError as error:
            raise UsageError(f"--average-views of {version}", expected="a model that was trained with views") from error
    mean = f", mean of {classifier.num_views} views each" if classifier.num_views > 1 else ""
    tell(f"{version}{mean}" + (f"\n{drawn_banner()}" if version.is_drawn else ""))
    yield from predict(classifier, paths, top=top)


def start_export(
    model: str,
    format: str,
    target: Path | None,
    *,
    cache_dir: Path,
    data_dir: Path | None = None,
    environment_dir: Path | None = None,
    tracking_uri: str | None = None,
    as_json: bool = False,
) -> None:
    """Writes a registered model in another format and shows how it compares with Keras.

    Raises:
      FashionTuningError: Of the kind that says what a person has to do.
    """
    terminal = ModelTerminal(as_json=as_json)
    with silent_stderr():
        from fashion_tuning.model.exporting import FORMATS
        from fashion_tuning.service.export import export, require_libraries
        from fashion_tuning.service.readable import readable
        from fashion_tuning.service.registered import find_registered
        from fashion_tuning.tracking import registry
        from fashion_tuning.tracking.store import Store
    require_libraries(format)
    store = Store(tracking_uri, must_exist=True)
    registered = find_registered(store, model)
    version = registered.version
    target = target or Path(f"{version.name}-{version.number}{FORMATS[format].suffix}")
    with terminal.working("exporting"):
        root = registered.photos(data_dir, environment_dir, cache_dir=cache_dir)
        with readable(version), registry.model_file(store, version) as path, silent_stderr():
            exported = export(path, format, target, pixels=registered.pixels(root))
    terminal.export(exported)
