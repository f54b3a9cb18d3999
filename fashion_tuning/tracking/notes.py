"""What the MLflow UI shows as the description of a run and of an experiment, Markdown."""

from mlflow.tracking import MlflowClient

from fashion_tuning.tracking.store import Store

NOTE = "mlflow.note.content"


def read_note(store: Store, run_id: str) -> str:
    """The description of a run, "" where it has none."""
    run = store.get_run(run_id)
    return str(run.data.tags.get(NOTE, "")) if run else ""


def write_note(store: Store, run_id: str, text: str) -> None:
    """Sets the description of a run."""
    store.call(lambda client: client.set_tag(run_id, NOTE, text))


def write_experiment_note(store: Store, experiment_id: str, text: str) -> None:
    """Sets the description of an experiment."""

    def operation(client: MlflowClient) -> None:
        client.set_experiment_tag(experiment_id, NOTE, text)

    store.call(operation)
