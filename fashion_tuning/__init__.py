"""A hyperparameter study of transfer learning for garment photos."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fashion_tuning.notebook import LoadedStudy

__version__ = "0.1.0"


def load_study(name_or_run_id: str, *, tracking_uri: str | None = None) -> LoadedStudy:
    """A study for notebooks and scripts: `.trials`, `.epochs`, `.best`, `.figures`; read-only.

    Args:
      name_or_run_id: A name means the newest study of that experiment.
      tracking_uri: None: MLFLOW_TRACKING_URI, or else mlflow.db in the working folder.

    Raises:
      UsageError: No study of that name or id.
      StoreError: The store can't be read.
    """
    from fashion_tuning import notebook  # MLflow takes seconds to import

    return notebook.load_study(name_or_run_id, tracking_uri=tracking_uri)
