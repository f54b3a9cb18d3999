"""The MLflow UI on the right store."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

from fashion_tuning.errors import StoreError
from fashion_tuning.masking import leave_password_out
from fashion_tuning.paths import file_uri
from fashion_tuning.ports import listen
from fashion_tuning.tracking.database import ARTIFACTS
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.ui_process import SECONDS_TO_END

HOST = "127.0.0.1"
COMMAND = "fashion-tuning ui"


def serve_ui(uri: str | None, *, port: int, announce: Callable[[str], None]) -> None:
    """Runs MLflow's UI on 127.0.0.1 until it is interrupted; for a server's URI says where its own UI is.

    Raises:
      StoreError: The store can't be opened, or the UI ends by itself.
      UsageError: There is no store yet, or the port is taken.
    """
    store = Store(uri, must_exist=True)
    if store.uri.startswith("http"):
        announce(f"this store is a server; its UI is at {leave_password_out(store.secret_uri) or store.uri}")
        return
    arguments = ["--host", HOST, "--port", str(port), "--workers", "1"]
    if store.folder:
        arguments += ["--default-artifact-root", file_uri(store.folder / ARTIFACTS)]
    listen(HOST, port, command=COMMAND).close()
    announce(f"MLflow UI: http://{HOST}:{port}  (store {store.uri}; Ctrl-C ends it)")
    # Its job processes take seven times 236 MB and half a minute, and nothing here needs them.
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": store.opened,  # everybody on this machine can read a command line
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, "-m", "fashion_tuning.tracking.ui_process", "ui", *arguments]
    # In a session of its own, Ctrl-C reaches the server only through us, and without its traceback.
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, start_new_session=True)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        return
    # MLflow's own exit code is 0 where its server could not start.
    listen(HOST, port, command=COMMAND).close()
    raise StoreError(
        f"the MLflow UI ended by itself, with exit code {code}",
        action="its own lines above say why; mend that and run it again",
    )
