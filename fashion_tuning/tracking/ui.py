"""The MLflow UI on the right store."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

from fashion_tuning.errors import UsageError
from fashion_tuning.tracking.database import ARTIFACTS
from fashion_tuning.tracking.store import Store


def serve_ui(uri: str | None, *, port: int, announce: Callable[[str], None]) -> None:
    """Runs MLflow's UI on 127.0.0.1 until it is interrupted; for a server's URI says where its own UI is.

    Raises:
      StoreError: The store can't be opened.
      UsageError: There is no store yet, or the UI ends with an error, such as a port that is taken.
    """
    store = Store(uri, must_exist=True)
    if store.uri.startswith("http"):
        announce(f"this store is a server; its UI is at {store.uri}")
        return
    arguments = ["--backend-store-uri", store.uri, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    if store.folder:
        arguments += ["--default-artifact-root", (store.folder / ARTIFACTS).as_uri()]
    announce(f"MLflow UI: http://127.0.0.1:{port}  (store {store.uri}; Ctrl-C ends it)")
    # Its job processes take seven times 236 MB and half a minute, and nothing here needs them.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    # In a session of its own, Ctrl-C reaches the server only through us, and without its traceback.
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "ui", *arguments], env=environment, start_new_session=True
    )
    try:
        code = process.wait()
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=10)
        return
    if code:
        raise UsageError(
            f"the MLflow UI ended with exit code {code}",
            expected=f"port {port} to be free",
            action=f"choose another: fashion-tuning ui --port {port + 1}",
        )
