"""When `make` sets its environment up anew: a folder may be moved or copied, an environment may not."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from command_line import PROJECT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project that was set up where it is."""
    for name in ("pyproject.toml", "requirements.lock", "Makefile"):
        shutil.copy(PROJECT / name, tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".ready").write_text(f"{tmp_path}\n")
    return tmp_path


def would_do(folder: Path) -> str:
    """What `make leaderboard` would do there."""
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # `make test` is one too
    typed = ["make", "--dry-run", "leaderboard"]
    return subprocess.run(typed, cwd=folder, env=alone, capture_output=True, text=True, timeout=60, check=True).stdout


def test_what_is_set_up_is_used(folder: Path) -> None:
    assert would_do(folder) == ".venv/bin/fashion-tuning leaderboard \n"


def test_a_changed_lock_is_installed_into_it(folder: Path) -> None:
    later = (folder / ".venv" / ".ready").stat().st_mtime + 10
    os.utime(folder / "requirements.lock", (later, later))
    assert "-m venv  .venv\n" in would_do(folder)


@pytest.mark.parametrize("change", ["moved", "copied", "half set up"])
def test_elsewhere_it_is_made_anew(change: str, folder: Path) -> None:
    target = folder.with_name(f"{folder.name} {change}")
    if change == "moved":
        folder.rename(target)
    else:
        shutil.copytree(folder, target)
    if change == "half set up":
        (target / ".venv" / ".ready").unlink()
    assert "-m venv --clear .venv\n" in would_do(target)
    if change == "copied":
        assert would_do(folder) == ".venv/bin/fashion-tuning leaderboard \n"
