"""The program as tests run it: a real process in a folder of its own, and what commands it has."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import typer

from fashion_tuning.cli import app

PROJECT = Path(__file__).parents[1]
PROGRAM = [sys.executable, "-m", "fashion_tuning"]


def clean_environment(folder: Path, **settings: str) -> dict[str, str]:
    """The environment without settings of the person who runs the tests; the cache lies in `folder`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FASHION_TUNING_", "MLFLOW_"))}
    return {
        **kept,
        "PYTHONPATH": str(PROJECT),
        "FASHION_TUNING_CACHE": str(folder / "cache"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **settings,
    }


def run(
    *arguments: str, folder: Path, program: list[str] | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Runs the program in `folder` to its end; settings are environment variables."""
    return subprocess.run(
        [*(program or PROGRAM), *arguments],
        cwd=folder,
        env=clean_environment(folder, **settings),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def close_terminal(typed: list[str], *, folder: Path, until: bytes, **settings: str) -> subprocess.Popen[bytes]:
    """Starts a command in a terminal of its own, and closes that once it has shown `until`."""
    far_end, near_end = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *typed],
        cwd=folder,
        env=clean_environment(folder, **settings),
        stdin=near_end,
        stdout=near_end,
        stderr=near_end,
        start_new_session=True,
    )
    os.close(near_end)
    said = b""
    while until not in said:
        said += os.read(far_end, 4096)
    os.close(far_end)
    return process


def commands() -> dict[str, typer.core.TyperCommand]:
    """Every command by what is typed for it, such as "cache list"; groups are not among them."""
    return dict(_walk(typer.main.get_command(app), ""))


def groups() -> list[str]:
    """What is typed for each group of commands; "" is the program itself."""
    return sorted({name.rpartition(" ")[0] for name in commands()})


def _walk(command: object, name: str) -> Iterator[tuple[str, typer.core.TyperCommand]]:
    if isinstance(command, typer.core.TyperGroup):
        for part, sub in command.commands.items():
            yield from _walk(sub, f"{name} {part}".strip())
    elif isinstance(command, typer.core.TyperCommand):
        yield name, command
