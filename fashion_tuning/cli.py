"""The command line: parses, calls one function, prints. What ends the process is in main.py.

Heavy imports (MLflow, Keras) stay inside the commands, so that --help answers at once.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from fashion_tuning.backend import choose_backend
from fashion_tuning.cli_cache import cache
from fashion_tuning.cli_models import models
from fashion_tuning.cli_serve import service
from fashion_tuning.errors import UsageError
from fashion_tuning.options import (
    DEFAULT_STUDY,
    READING,
    DataOption,
    DataOptions,
    DebugOption,
    JsonOption,
    ReportOption,
    StoreOption,
    StudiesArgument,
    TimeoutOption,
    cache_folder,
    environment_folder,
    expand_paths,
)
from fashion_tuning.surroundings import clear_surroundings

app = typer.Typer(
    name="fashion-tuning",
    help="A hyperparameter study of garment photos: Keras Tuner asks, cached Xception features answer, "
    "MLflow remembers.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(cache, name="cache")
app.add_typer(models)
app.add_typer(service)


@app.callback()
def _options(debug: DebugOption = False) -> None:
    if debug:
        os.environ["FASHION_TUNING_DEBUG"] = "1"
    if gone := clear_surroundings(choose_backend()):
        typer.echo(f"{', '.join(gone)}: left aside, what a result depends on is set by the program", err=True)


@app.command()
def data(data_dirs: DataOptions = None, as_json: JsonOption = False) -> None:
    """Get and verify the photos; print counts, bad files and duplicates across splits."""
    from fashion_tuning.data.source import open_dataset
    from fashion_tuning.show import Terminal, dataset_json

    terminal = Terminal(as_json=as_json)
    with terminal.counting("getting the photos") as progress:
        dataset = open_dataset(
            data_dirs[0] if data_dirs else environment_folder(),
            joining=(data_dirs or [])[1:],
            cache_dir=cache_folder(),
            progress=progress,
            download_progress=terminal.interactive,
        )
    if as_json:
        print(json.dumps(dataset_json(dataset), indent=1))
    else:
        terminal.dataset(dataset)


@app.command()
def tune(
    card: Annotated[Path, typer.Argument(callback=expand_paths, help="The experiment card.")] = Path(
        "experiments/xception_150.toml"
    ),
    max_trials: Annotated[
        int | None, typer.Option(min=1, help="Trials in all, in place of the card's number.", show_default=False)
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Trials that run at a time.")] = 1,
    data_dirs: DataOptions = None,
    tracking_uri: StoreOption = None,
    store_timeout: TimeoutOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin the study anew; the earlier runs stay.")] = False,
    with_report: ReportOption = True,
    as_json: JsonOption = False,
) -> None:
    """Run a study, or go on with it where it stopped."""
    from fashion_tuning.launch import start_study

    start_study(
        card,
        max_trials=max_trials,
        num_workers=workers,
        data_dir=data_dirs[0] if data_dirs else None,
        joining=(data_dirs or [])[1:],
        environment_dir=environment_folder(),
        tracking_uri=tracking_uri,
        store_timeout=store_timeout,
        fresh=fresh,
        with_report=with_report,
        as_json=as_json,
        cache_dir=cache_folder(),
    )


@app.command()
def demo(tracking_uri: StoreOption = None, as_json: JsonOption = False) -> None:
    """Run a small study on drawn garments: a tour of the program in a few minutes."""
    from fashion_tuning.launch import start_study

    start_study(
        Path("experiments/demo.toml"),
        tracking_uri=tracking_uri,
        as_json=as_json,
        cache_dir=cache_folder(),
    )


@app.command()
def leaderboard(
    studies: StudiesArgument = None,
    tracking_uri: StoreOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Show a study's trials, best first, with standard errors and ties named; of several studies all in one ranking."""
    if as_json and as_csv:
        raise UsageError("both --json and --csv", expected="one of them")
    from fashion_tuning.launch_report import read_boards
    from fashion_tuning.show_studies import StudyTerminal

    terminal = StudyTerminal(as_json=as_json or as_csv)
    with terminal.working("reading the trials"):
        store, boards = read_boards(studies or [DEFAULT_STUDY], tracking_uri=tracking_uri)
    for board in boards:
        if board.study.photos == "drawn":
            terminal.line(f"{board.study.experiment}: drawn garments, no photos")
    if len(boards) == 1:
        rows, show = boards[0].as_dicts(), lambda: terminal.leaderboard(boards[0])
    else:
        from fashion_tuning.study.comparison import compare

        comparison = compare(store, boards)
        rows, show = comparison.as_dicts(), lambda: terminal.comparison(comparison)
    if as_json:
        print(json.dumps(rows, indent=1))
    elif as_csv:
        import pandas as pd

        print(pd.DataFrame(rows).to_csv(index=False), end="")
    else:
        show()


@app.command()
def report(
    studies: StudiesArgument = None,
    output: Annotated[
        Path | None,
        typer.Option(callback=expand_paths, help="Folder to write to, instead of reports/STUDY.", show_default=False),
    ] = None,
    tracking_uri: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write figures and one self-contained HTML page of a study, into its run too; of several studies what differs."""
    from fashion_tuning.launch_report import start_report

    start_report(studies or [DEFAULT_STUDY], output=output, tracking_uri=tracking_uri, as_json=as_json)


@app.command()
def check(
    study: Annotated[str, typer.Argument(help="Name or run id of a study.")] = DEFAULT_STUDY,
    tracking_uri: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare a study's runs with each other and with their artifacts; exit 1 where something differs."""
    from fashion_tuning.quiet import silent_stderr
    from fashion_tuning.show_studies import StudyTerminal

    with silent_stderr():
        from fashion_tuning.study.check import check as check_study
    from fashion_tuning.study.lookup import find_study
    from fashion_tuning.tracking.store import Store

    store = Store(tracking_uri, must_exist=True, patience=READING)
    terminal = StudyTerminal(as_json=as_json)
    with terminal.working("comparing what is on record"):
        findings = check_study(store, find_study(store, study), cache_dir=cache_folder())
    terminal.findings(findings)
    if findings.differences:
        raise typer.Exit(1)


@app.command()
def replay(
    run: Annotated[str, typer.Argument(help="Run id of a trial.")],
    tolerance: Annotated[float, typer.Option(min=0, help="Largest absolute difference that counts as none.")] = 1e-6,
    repair: Annotated[bool, typer.Option("--repair", help="Make damaged artifacts of the run again.")] = False,
    data_dir: DataOption = None,
    tracking_uri: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train one recorded trial again and compare its metrics with the record; exit 1 where they differ."""
    from fashion_tuning.quiet import silent_stderr
    from fashion_tuning.show_studies import StudyTerminal
    from fashion_tuning.study.executors import Worker

    terminal = StudyTerminal(as_json=as_json)
    worker = Worker()
    try:
        with silent_stderr():
            from fashion_tuning.study.replay import replay as replay_trial
        from fashion_tuning.tracking.store import Store

        with terminal.working("replaying the trial"):
            outcome = replay_trial(
                Store(tracking_uri, must_exist=True, patience=READING),
                run,
                worker=worker,
                cache_dir=cache_folder(),
                data_dir=data_dir,
                environment_dir=environment_folder(),
                tolerance=tolerance,
                repair=repair,
                tell=terminal.line,
            )
    finally:
        worker.close()
    terminal.replay(outcome)
    if not outcome.agrees:
        raise typer.Exit(1)


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the UI listens, on this machine only.")] = 5000,
    tracking_uri: StoreOption = None,
) -> None:
    """Open the MLflow UI on the right store."""
    from fashion_tuning.tracking.ui import serve_ui

    serve_ui(tracking_uri, port=port, announce=print)
