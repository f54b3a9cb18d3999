"""What the MLflow UI shows as the description of a run and of an experiment, Markdown.

A block that begins with a heading takes the place of an earlier block with that heading; what stands above it, by a
person's hand or by ours, stays.
"""

from mlflow.tracking import MlflowClient

from fashion_tuning.tracking.store import Store

NOTE = "mlflow.note.content"


def renew_run_note(store: Store, run_id: str, block: str) -> None:
    """Writes a block into the description of a run."""

    def operation(client: MlflowClient) -> None:
        note = client.get_run(run_id).data.tags.get(NOTE, "")
        client.set_tag(run_id, NOTE, _renewed(note, block))

    store.call(operation)


def renew_experiment_note(store: Store, experiment_id: str, block: str) -> None:
    """Writes a block into the description of an experiment."""

    def operation(client: MlflowClient) -> None:
        note = client.get_experiment(experiment_id).tags.get(NOTE, "")
        client.set_experiment_tag(experiment_id, NOTE, _renewed(note, block))

    store.call(operation)


def _renewed(note: str, block: str) -> str:
    heading, _, _ = block.partition("\n")
    above, _, _ = note.partition(heading)
    return f"{above.rstrip()}\n\n{block}" if above.strip() else block
