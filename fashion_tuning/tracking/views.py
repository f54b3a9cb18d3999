"""Saved views of the MLflow UI: which columns a table of runs has, in which order, and which runs it shows.

MLflow keeps a saved view in a tag of its experiment, mlflow.sharedViewState.KEY: JSON with a name and its state, that
being JSON again, deflated. Seen in MLflow 3.17, whose menu "Views" lists them; earlier ones leave the tag alone.
"""

import base64
import json
import time
import zlib
from collections.abc import Sequence

from mlflow.tracking import MlflowClient

from fashion_tuning.tracking.store import Store

_TAG = "mlflow.sharedViewState."
PARAMETER = "params.`{}`"
METRIC = "metrics.`{}`"


def view_link(experiment_id: str, key: str) -> str:
    """Where the UI shows a saved view, relative to its own address."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={key}"


def write_view(
    store: Store, experiment_id: str, key: str, *, name: str, search: str, order_by: str, columns: Sequence[str]
) -> None:
    """Saves a view of an experiment's runs, in the place of an earlier one with that key.

    Args:
      key: Names it in its link; letters and digits.
      name: What the menu calls it.
      search: MLflow's filter of runs.
      order_by: A column, highest values first.
      columns: In MLflow's words, see PARAMETER and METRIC.
    """
    state = {
        "searchFilter": search,
        "orderByKey": order_by,
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(columns),
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "SHOWALL",
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    now = int(time.time() * 1000)
    entry = {"name": name, "createdAt": now, "updatedAt": now, "state": f"deflate;{packed}"}

    def operation(client: MlflowClient) -> None:
        client.set_experiment_tag(experiment_id, _TAG + key, json.dumps(entry))

    store.call(operation)
