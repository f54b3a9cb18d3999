"""Commands of MLflow's own that bring back what somebody has deleted in its UI, worded for a person to type."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from fashion_tuning.errors import StoreError


def mlflow_command(*arguments: str, address: str) -> str:
    """Word a command of MLflow's so that it works where this program was typed.

    Args:
      address: The store's tracking URI where MLflow would not find the store by itself, else "".
    """
    program = "mlflow"
    if not shutil.which(program) and (beside := Path(sys.executable).with_name(program)).exists():
        program = str(beside)
    setting = [f"MLFLOW_TRACKING_URI={shlex.quote(address)}"] if address else []
    return " ".join([*setting, shlex.join([program, *arguments])])


def deleted_experiment_error(name: str, experiment_id: str, *, address: str) -> StoreError:
    """Make the error for an experiment that was deleted in the UI."""
    restore = mlflow_command("experiments", "restore", "--experiment-id", experiment_id, address=address)
    return StoreError(f"the MLflow experiment {name!r} was deleted", action=f"{restore} brings it back with its runs")
