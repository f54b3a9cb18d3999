"""The command line: parses, calls one function, prints. What ends the process is in main.py.

Heavy imports (MLflow, Keras) stay inside the commands, so that --help answers at once.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from fashion_tuning.cli_models import models
from fashion_tuning.errors import UsageError
from fashion_tuning.options import (
    READING,
    DataOption,
    DebugOption,
    JsonOption,
    StoreOption,
    TimeoutOption,
    cache_folder,
    environment_folder,
)

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
cache_app = typer.Typer(no_args_is_help=True, help="List, verify or prune the feature cache.", rich_markup_mode=None)
app.add_typer(cache_app, name="cache")
app.add_typer(models)


@app.callback()
def _options(debug: DebugOption = False) -> None:
    if debug:
        os.environ["FASHION_TUNING_DEBUG"] = "1"


@app.command()
def data(data_dir: DataOption = None, as_json: JsonOption = False) -> None:
    """Get and verify the photos; print counts, bad files and duplicates across splits."""
    from fashion_tuning.data.source import open_dataset
    from fashion_tuning.show import Terminal, dataset_json

    terminal = Terminal(as_json=as_json)
    with terminal.counting("verifying photos") as progress:
        dataset = open_dataset(
            data_dir or environment_folder(),
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
    card: Annotated[Path, typer.Argument(help="The experiment card.")] = Path("experiments/xception_150.toml"),
    max_trials: Annotated[
        int | None, typer.Option(min=1, help="Trials in all, in place of the card's number.", show_default=False)
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Trials that run at a time.")] = 1,
    data_dir: DataOption = None,
    tracking_uri: StoreOption = None,
    store_timeout: TimeoutOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin the study anew; the earlier runs stay.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a study, or go on with it where it stopped."""
    from fashion_tuning.launch import start_study

    start_study(
        card,
        max_trials=max_trials,
        num_workers=workers,
        data_dir=data_dir,
        environment_dir=environment_folder(),
        tracking_uri=tracking_uri,
        store_timeout=store_timeout,
        fresh=fresh,
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
    study: Annotated[str, typer.Argument(help="Name or run id of a study.")] = "xception-150",
    tracking_uri: StoreOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Show a study's trials, best first, with standard errors and ties named."""
    if as_json and as_csv:
        raise UsageError("both --json and --csv", expected="one of them")
    from fashion_tuning.show import Terminal
    from fashion_tuning.study.leaderboard import find_study
    from fashion_tuning.study.leaderboard import leaderboard as read_leaderboard
    from fashion_tuning.tracking.store import Store

    store = Store(tracking_uri, must_exist=True, patience=READING)
    board = read_leaderboard(store, find_study(store, study))
    terminal = Terminal(as_json=as_json or as_csv)
    if board.study.photos == "drawn":
        terminal.line(f"{board.study.experiment}: drawn garments, no photos")
    if as_json:
        print(json.dumps(board.as_dicts(), indent=1))
    elif as_csv:
        import pandas as pd

        print(pd.DataFrame(board.as_dicts()).to_csv(index=False), end="")
    else:
        terminal.leaderboard(board)


@app.command()
def check(
    study: Annotated[str, typer.Argument(help="Name or run id of a study.")] = "xception-150",
    tracking_uri: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare a study's runs with each other and with their artifacts; exit 1 where something differs."""
    from fashion_tuning.quiet import silent_stderr
    from fashion_tuning.show import Terminal

    with silent_stderr():
        from fashion_tuning.study.check import check as check_study
    from fashion_tuning.study.leaderboard import find_study
    from fashion_tuning.tracking.store import Store

    store = Store(tracking_uri, must_exist=True, patience=READING)
    findings = check_study(store, find_study(store, study), cache_dir=cache_folder())
    Terminal(as_json=as_json).findings(findings)
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
    from fashion_tuning.show import Terminal
    from fashion_tuning.study.executors import Worker

    terminal = Terminal(as_json=as_json)
    worker = Worker()
    try:
        with silent_stderr():
            from fashion_tuning.study.replay import replay as replay_trial
        from fashion_tuning.tracking.store import Store

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


@cache_app.command("list")
def cache_list(as_json: JsonOption = False) -> None:
    """List what the cache holds, with sizes."""
    from fashion_tuning.model.cache import list_cache
    from fashion_tuning.show import Terminal

    entries = list_cache(cache_folder())
    if as_json:
        print(json.dumps([entry.as_dict() for entry in entries], indent=1))
    else:
        Terminal().cache(cache_folder(), entries)


@cache_app.command("verify")
def cache_verify() -> None:
    """Check every feature shard against its recorded digest; exit 1 where one differs."""
    from fashion_tuning.model.cache import verify_cache
    from fashion_tuning.show import Terminal

    problems = verify_cache(cache_folder())
    Terminal().problems(problems, good="every file in the cache is as it was written")
    if problems:
        raise typer.Exit(1)


@cache_app.command("prune")
def cache_prune(
    unused_days: Annotated[
        float | None,
        typer.Option(min=0, help="Also remove features not used for this many days.", show_default=False),
    ] = None,
) -> None:
    """Remove damaged and unfinished features, and on demand those long unused."""
    from fashion_tuning.model.cache import prune_cache
    from fashion_tuning.show import Terminal

    Terminal().pruned(prune_cache(cache_folder(), unused_days=unused_days))
