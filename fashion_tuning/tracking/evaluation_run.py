"""Writing an evaluation run: one per look at a split by a model, and how many looks there were."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Metric, Param, ViewType

from fashion_tuning.errors import FashionTuningError
from fashion_tuning.fail_points import passed
from fashion_tuning.tracking import lease, tag_names
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.tag_names import MANIFEST
from fashion_tuning.tracking.trial_run import close_as_killed

SPLIT = "fashion.split"
MODEL = "fashion.model"
FINAL_RUN = "fashion.final_run"
BY = "fashion.by"  # the command that looks
LOOK = "fashion.look"
_BATCH = 1000  # metrics that MLflow takes at a time


@dataclass(frozen=True)
class Look:
    """A look at a split that is being taken.

    Args:
      run_id: Its evaluation run.
      number: Which look at this split of this data it is in the whole store, this one included.
    """

    store: Store
    run_id: str
    number: int

    def record(self, metrics: Mapping[str, float], params: Mapping[str, str], artifacts: Path) -> None:
        """Writes all figures and every file of a folder.

        Raises:
          StoreError, DiskError: The store or its disk refuses.
        """
        now = int(time.time() * 1000)
        entries = [Metric(name, float(value), now, 0) for name, value in metrics.items()]
        texts = [Param(name, value) for name, value in params.items()]
        self.store.call(lambda client: client.log_batch(self.run_id, params=texts))
        for first in range(0, len(entries), _BATCH):  # three for each class
            batch = entries[first : first + _BATCH]
            self.store.call(lambda client, batch=batch: client.log_batch(self.run_id, metrics=batch))  # type: ignore[misc]
        for path in sorted(artifacts.iterdir()):
            self.store.upload(self.run_id, path)


@contextmanager
def look(store: Store, experiment_id: str, *, name: str, tags: Mapping[str, str]) -> Iterator[Look]:
    """Opens an evaluation run and ends it as what became of it; it counts as a look from the start.

    Args:
      tags: With SPLIT and MANIFEST, by which looks are counted.
    """
    _close_left(store, experiment_id)
    number = count_looks(store, split=tags[SPLIT], manifest=tags[MANIFEST]) + 1
    own = {tag_names.KIND: "evaluation", LOOK: str(number), lease.OWNER: lease.as_tag(lease.Owner.here())}
    run_id = store.create_run(experiment_id, name=name, tags={**own, **tags})
    try:
        passed("look")
        yield Look(store, run_id, number)
        store.call(lambda client: client.set_terminated(run_id, "FINISHED"))
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        if interrupted:
            store.hurry()
        with suppress(FashionTuningError):
            store.call(lambda client: client.set_terminated(run_id, "KILLED" if interrupted else "FAILED"))
        raise
    passed("evaluation")


def _close_left(store: Store, experiment_id: str) -> None:
    """Closes the looks that processes which are gone have left RUNNING."""
    for run in store.search([experiment_id], f"tags.`{tag_names.KIND}` = 'evaluation' and status = 'RUNNING'"):
        owner = lease.parse_owner(run.data.tags.get(lease.OWNER))
        if owner is None or owner.is_gone:
            close_as_killed(store, run.info.run_id)


def count_looks(store: Store, *, split: str, manifest: str) -> int:
    """How many evaluation runs of a split of this data the whole store has; read-only."""
    experiments = store.call(lambda client: list(client.search_experiments(view_type=ViewType.ALL)))
    query = (
        f"tags.`{tag_names.KIND}` = 'evaluation' and tags.`{SPLIT}` = '{split}' and tags.`{MANIFEST}` = '{manifest}'"
    )
    # Those that somebody has deleted in the UI have been taken all the same.
    return len(store.search([experiment.experiment_id for experiment in experiments], query, view_type=ViewType.ALL))


def find_evaluation(store: Store, experiment_id: str, *, final_run: str, split: str) -> str | None:
    """Run id of the finished look that a final run has taken, None where there is none; read-only."""
    query = (
        f"tags.`{tag_names.KIND}` = 'evaluation' and tags.`{SPLIT}` = '{split}'"
        f" and tags.`{FINAL_RUN}` = '{final_run}' and tags.`{BY}` = 'final-train' and status = 'FINISHED'"
    )
    runs = sorted(store.search([experiment_id], query), key=lambda run: run.info.start_time)
    return runs[0].info.run_id if runs else None
