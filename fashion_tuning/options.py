"""Options that several commands have, and the folders that the environment names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from platformdirs import user_cache_path

from fashion_tuning.errors import UsageError
from fashion_tuning.paths import expand


def expand_paths(paths: Path | list[Path] | None) -> Path | list[Path] | None:
    """Expands what an option or an argument of paths was given: a shell does so for some ways to give a path alone."""
    if paths is None:
        return None
    return expand(paths) if isinstance(paths, Path) else [expand(path) for path in paths]


READING = 20.0  # seconds that those who only read wait for a store

DEFAULT_STUDY = "xception-150"

StudiesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[STUDY]...",
        help=f"Names or run ids, default {DEFAULT_STUDY}; of several the others are compared with the first.",
        show_default=False,
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        callback=expand_paths,
        help="Folder of photos: train/ validation/ test/, or one folder per class; default: FASHION_TUNING_DATA.",
        show_default=False,
    ),
]
DataOptions = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        callback=expand_paths,
        metavar="<path>",
        help="As FASHION_TUNING_DATA: folder of photos; given again, a labelled folder whose photos join train.",
        show_default=False,
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        help="MLflow store, a password better by MLFLOW_TRACKING_PASSWORD; default: MLFLOW_TRACKING_URI, mlflow.db.",
    ),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--store-timeout",
        min=0,
        envvar="FASHION_TUNING_STORE_TIMEOUT",
        help="Seconds to wait for a tracking store that is locked or away; default: 300.",
        show_default=False,
        show_envvar=False,
    ),
]
ReportOption = Annotated[bool, typer.Option("--report/--no-report", help="Write the study's report at the end.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
ViewsOption = Annotated[
    bool | None,
    typer.Option(
        "--average-views/--photo-alone",
        help="Average over each photo and the views the model was trained with; default: as its card says.",
        show_default=False,
    ),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show a traceback where a bug is met.")]
ModelOption = Annotated[
    str, typer.Option("--model", help="NAME, NAME@ALIAS or NAME/VERSION; a name alone means its champion.")
]


def environment_folder() -> Path | None:
    """The folder that FASHION_TUNING_DATA names, if any."""
    named = os.environ.get("FASHION_TUNING_DATA")
    return expand(named) if named else None


def cache_folder() -> Path:
    """FASHION_TUNING_CACHE, or the system's place for caches."""
    named = os.environ.get("FASHION_TUNING_CACHE")
    if named:
        return expand(named).absolute()
    try:
        return user_cache_path("fashion-tuning")
    except RuntimeError as error:  # a user without a home
        raise UsageError(
            f"no folder for photos, weights and features: {error}",
            expected="a home folder, or FASHION_TUNING_CACHE",
            action="set FASHION_TUNING_CACHE to a folder",
        ) from error
