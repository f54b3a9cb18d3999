"""The MLflow UI as a process."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from command_line import PROGRAM, clean_environment
from mlflow.tracking import MlflowClient
from study_process import wait_for


@pytest.mark.slow
def test_the_ui_shows_the_store_whose_address_is_on_no_command_line(
    new_uri: Callable[[Path], str], tmp_path: Path
) -> None:
    uri = new_uri(tmp_path / "private-place")
    MlflowClient(uri).create_experiment("mine")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "elsewhere").mkdir()
    settings = clean_environment(tmp_path, MLFLOW_TRACKING_URI=uri)
    process = subprocess.Popen([*PROGRAM, "ui", "--port", str(port)], cwd=tmp_path / "elsewhere", env=settings)

    def names() -> set[str]:
        address = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=10"
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return {experiment["name"] for experiment in json.load(answer)["experiments"]}
        except OSError:
            return set()

    try:
        wait_for(names, seconds=90)
        assert "mine" in names()
        lines = [child.cmdline() for child in psutil.Process(process.pid).children(recursive=True)]
        assert any("mlflow" in word for line in lines for word in line)
        assert not any(uri in word for line in lines for word in line)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
