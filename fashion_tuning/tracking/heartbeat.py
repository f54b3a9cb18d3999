"""What goes on beside a running study: its owner's heartbeat, and MLflow's system metrics."""

import threading
from contextlib import suppress

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from fashion_tuning.errors import FashionTuningError
from fashion_tuning.tracking import lease
from fashion_tuning.tracking.lease import Owner
from fashion_tuning.tracking.store import Store

_SAMPLING_SECONDS = 5
_STOPPING_SECONDS = 0.5


class Heartbeat:
    """A thread that renews the lease of a study run and keeps its system metrics going.

    It writes only while the lease is its owner's; that a rival has taken it is found where it
    matters, before the next tell.
    """

    def __init__(self, store: Store, run_id: str, owner: Owner) -> None:
        self._store = store.beside()
        self._run_id = run_id
        self._owner = owner
        self._stopped = threading.Event()
        self._monitor: SystemMetricsMonitor | None = None
        threading.Thread(target=self._beat, daemon=True, name="heartbeat").start()

    def stop(self) -> None:
        """Ends both; what the monitor still has to write may be lost with a store that is away."""
        self._stopped.set()
        if self._monitor is None:
            return
        # It ends at its next look at the store, which may take long.
        ending = threading.Thread(target=self._monitor.finish, daemon=True)
        ending.start()
        ending.join(timeout=_STOPPING_SECONDS)

    def _beat(self) -> None:
        self._start_monitor()
        while not self._stopped.wait(lease.HEARTBEAT_SECONDS):
            # A store that is away is waited for by the study itself.
            with suppress(FashionTuningError):
                held = lease.read_owner(self._store, self._run_id, patience=0)
                if held is not None and held.token == self._owner.token and not self._stopped.is_set():
                    lease.renew(self._store, self._run_id, self._owner, patience=0)
                    if self._monitor is None or not _runs(self._monitor):
                        self._start_monitor()  # MLflow's monitor gives up at the first error

    def _start_monitor(self) -> None:
        self._monitor = SystemMetricsMonitor(
            self._run_id,
            resume_logging=True,  # steps go on where an earlier process stopped
            tracking_uri=self._store.secret_uri,
            sampling_interval=_SAMPLING_SECONDS,
        )
        self._monitor.start()


def _runs(monitor: SystemMetricsMonitor) -> bool:
    return monitor._process is not None and monitor._process.is_alive()
