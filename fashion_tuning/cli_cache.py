"""The cache's part of the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fashion_tuning.options import JsonOption, cache_folder, expand_paths

cache = typer.Typer(no_args_is_help=True, help="List, verify or prune the feature cache.", rich_markup_mode=None)


@cache.command("list")
def cache_list(as_json: JsonOption = False) -> None:
    """List what the cache holds, with sizes."""
    from fashion_tuning.model.cache import list_cache
    from fashion_tuning.show import Terminal

    entries = list_cache(cache_folder())
    if as_json:
        print(json.dumps([entry.as_dict() for entry in entries], indent=1))
    else:
        Terminal().cache(cache_folder(), entries)


@cache.command("verify")
def cache_verify(
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data",
            callback=expand_paths,
            help="Photos in this folder: also compute some of their features anew, and compare.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Check every feature shard against its recorded digest; exit 1 where one differs."""
    from fashion_tuning.model.cache import verify_cache
    from fashion_tuning.show import Terminal

    terminal = Terminal()
    with terminal.working("verifying the cache"):
        problems = verify_cache(cache_folder())
    terminal.problems(
        problems,
        good="every feature in the cache is as it was written; weights and photos are verified when they are used",
    )
    others = 0
    if data_dir is not None:
        from fashion_tuning.launch import recheck_features

        for recheck in recheck_features(data_dir, cache_dir=cache_folder(), terminal=terminal):
            terminal.line(str(recheck))
            others += not recheck.agrees
        if others:
            terminal.line("remove the folder of what is NOT as computed anew: the next use computes it again")
    if problems or others:
        raise typer.Exit(1)


@cache.command("prune")
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
