"""Writing a study run: what it is, what it stands on, who works on it, how far it has come."""

import getpass
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar, Self

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE, MLFLOW_USER

from fashion_tuning.config import Card
from fashion_tuning.errors import FashionTuningError
from fashion_tuning.fail_points import passed
from fashion_tuning.files import SCRATCH, scratch_folder, write_text
from fashion_tuning.hyperparameters import HYPERPARAMETERS
from fashion_tuning.tracking import lease, records, tag_names
from fashion_tuning.tracking.heartbeat import Heartbeat
from fashion_tuning.tracking.lease import Owner
from fashion_tuning.tracking.origin import DatasetInfo, Origin
from fashion_tuning.tracking.provenance import environment_lock, machine, source_commit, versions
from fashion_tuning.tracking.store import Store
from fashion_tuning.wording import count


class StudyRun:
    """One generation of a study in the store, owned by this process.

    Made by `begin` or picked up again by `resume`, then `start`ed and in the end `end`ed.
    """

    kind: ClassVar[str] = "study"
    best_is_result: ClassVar[bool] = True

    def __init__(
        self, store: Store, experiment_id: str, record: records.StudyRecord, dataset: DatasetInfo, owner: Owner
    ) -> None:
        self.store = store
        self.experiment_id = experiment_id
        self.record = record
        self.dataset = dataset
        self._owner = owner
        self._heartbeat: Heartbeat | None = None
        self._is_new = False

    @property
    def run_id(self) -> str:
        return self.record.run_id

    @classmethod
    def begin(cls, store: Store, experiment: str, origin: Origin, *, generation: int) -> Self:
        """Makes the study run with its tags.

        Raises:
          StoreError: The store refuses.
        """
        owner = Owner.here()
        experiment_id = store.make_experiment(experiment, description=origin.card.description)
        tags = {
            tag_names.KIND: cls.kind,
            tag_names.STUDY: origin.study,
            tag_names.DIGEST: origin.digest,
            tag_names.GENERATION: str(generation),
            **tag_names.long_tags(tag_names.PARTS, json.dumps(origin.parts, sort_keys=True)),
            **origin.sources,
            tag_names.PHOTOS: origin.dataset.kind,
            lease.OWNER: lease.as_tag(owner),
            tag_names.COMMIT: source_commit(),
            **_source(cls.kind),
            tag_names.VERSIONS: json.dumps(versions()),
            tag_names.MACHINE: json.dumps(machine()),
            "mlflow.note.content": _note(origin.card, origin.dataset),
        }
        suffix = f" · generation {generation}" if generation > 1 else ""
        started = int(time.time() * 1000)
        run_id = store.create_run(
            experiment_id, name=f"{cls.kind} {origin.digest[:8]}{suffix}", tags=tags, start_time=started
        )
        passed("study run")
        record = records.StudyRecord(
            run_id=run_id,
            experiment=experiment,
            digest=origin.digest,
            study=origin.study,
            generation=generation,
            status="RUNNING",
            parts=origin.parts,
            photos=origin.dataset.kind,
            start_time=started,
            owner=owner,
            kind=cls.kind,
            experiment_id=experiment_id,
        )
        run = cls(store, experiment_id, record, origin.dataset, owner)
        run._is_new = True
        return run

    @classmethod
    def resume(cls, store: Store, record: records.StudyRecord, dataset: DatasetInfo) -> Self:
        """Picks up a study run: it is RUNNING again, and this process's.

        Raises:
          StudyOwnedError: Another live process owns it.
          StoreError: The store refuses.
        """
        owner = Owner.here()
        experiment_id = store.make_experiment(record.experiment, description="")
        run = cls(store, experiment_id, record, dataset, owner)
        try:
            lease.claim(store, record.run_id, owner, study=run._name)
            store.call(lambda client: client.update_run(record.run_id, status="RUNNING"))
        except KeyboardInterrupt:
            store.hurry()
            with suppress(FashionTuningError):
                lease.release(store, record.run_id, owner)
            raise
        return run

    def start(self, origin: Origin) -> None:
        """Writes what the run does not hold yet of its origin, and begins its heartbeat.

        Raises:
          StudyOwnedError: Another machine has begun the same study at the same moment.
          StoreError: The store refuses.
          DiskError: The artifact folder can't be written.
        """
        if self._is_new and self.store.folder is None:
            self._yield_to_earlier()
        if not self._is_new and (shared := origin.sources.get(tag_names.SHARED)):  # earlier versions left it out
            tag = RunTag(tag_names.SHARED, shared)
            self.store.call(lambda client: client.log_batch(self.run_id, tags=[tag]))
        if not self.record.described:
            self._describe(origin)
        self._heartbeat = Heartbeat(self.store, self.run_id, self._owner)

    def guard(self, client: MlflowClient) -> None:
        """Begins an exchange that must not come through once another machine has taken the study.

        Raises:
          StudyOwnedError: One has.
        """
        lease.require(client, self.run_id, self._owner, study=self._name)

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Writes the study's own metrics; `step` is how many trials have ended.

        Raises:
          StudyOwnedError: Another machine has taken the study.
        """
        now = int(time.time() * 1000)
        entries = [Metric(name, float(value), now, step) for name, value in metrics.items()]

        def operation(client: MlflowClient) -> None:
            self.guard(client)
            client.log_batch(self.run_id, metrics=entries)

        self.store.call(operation)

    def metrics(self) -> dict[str, float]:
        """What `log` wrote last, by name."""
        return dict(self.store.call(lambda client: client.get_run(self.run_id)).data.metrics)

    def leave(self) -> None:
        """Stops its heartbeat and leaves the run to the one who has taken it."""
        if self._heartbeat:
            self._heartbeat.stop()
            self._heartbeat = None

    def end(self, status: str) -> None:
        """Closes the run as FINISHED, FAILED or KILLED, and lets go of it."""
        self.leave()
        self.store.call(lambda client: client.set_terminated(self.run_id, status=status))
        passed("study ended")
        lease.release(self.store, self.run_id, self._owner)
        passed("let go")

    @property
    def _name(self) -> str:
        return f"{self.kind} {self.record.digest} of {self.record.experiment!r}"

    def _yield_to_earlier(self) -> None:
        """Of two machines that begin a study at the same moment, the later one gives way.

        Raises:
          StudyOwnedError: There is an earlier one.
        """
        time.sleep(lease.SETTLING_SECONDS)
        known = records.find_studies(self.store, self.record.experiment, kind=self.kind)
        first = records.current_study(known, self.record.digest)
        if first is not None and first.run_id != self.run_id:
            tag = RunTag(tag_names.KIND, f"withdrawn {self.kind}")
            self.store.call(lambda client: client.log_batch(self.run_id, tags=[tag]))
            self.store.call(lambda client: client.set_terminated(self.run_id, "KILLED"))
            raise (first.owner or self._owner).error(self._name)

    def _describe(self, origin: Origin) -> None:
        """Parameters, dataset and artifacts; the last tag says that all of it stands."""
        card = origin.card
        params = {
            "tuner": card.search.tuner if card.search else "list",
            "image_size": card.images.image_size,
            "interpolation": card.images.interpolation,
            "aspect": card.images.aspect,
            "backbone": card.model.backbone,
            "epochs": card.training.epochs,
            "seeds": card.training.seeds,
            "batch_size": card.training.batch_size,
            "seed": card.seed,
        }
        # Where trials have values of their own, a final run shows its winner's under that name.
        common = [name for name in params if name not in HYPERPARAMETERS or not card.names(name)]
        entries = [Param(name, str(params[name])) for name in common]
        self.store.call(lambda client: client.log_inputs(self.run_id, [origin.dataset.as_input()]))
        self.store.call(lambda client: client.log_batch(self.run_id, params=entries))
        files = {
            "card.toml": origin.card_text,
            "manifest.csv": origin.manifest_csv,
            "environment.txt": environment_lock(),
        }
        with scratch_folder() as folder:
            for name, text in files.items():
                path = folder / name
                write_text(path, text, instead=SCRATCH)
                self.store.upload(self.run_id, path)
                passed("study artifact")
        tag = RunTag(tag_names.DESCRIBED, "true")
        self.store.call(lambda client: client.log_batch(self.run_id, tags=[tag]))
        passed("study described")


class FinalRun(StudyRun):
    """The final run of a study: its trials are those at the final size, its model is registered."""

    kind: ClassVar[str] = "final"
    best_is_result: ClassVar[bool] = False  # the chosen trial is, see `choose`

    def choose(
        self, tags: Mapping[str, str], params: Mapping[str, str], metrics: Mapping[str, float], *, step: int
    ) -> None:
        """Records which trial was chosen, its values and its figures."""
        entries = [RunTag(name, value) for name, value in tags.items()]
        texts = [Param(name, value) for name, value in params.items()]

        def operation(client: MlflowClient) -> None:
            self.guard(client)
            client.log_batch(self.run_id, params=texts, tags=entries)

        self.store.call(operation)
        if not self.metrics().items() >= metrics.items():
            self.log(metrics, step=step)
        passed("chosen")


def _source(kind: str) -> dict[str, str]:
    """What the UI shows as the run's source and user."""
    command = {"study": "tune", "final": "final-train"}[kind]
    tags = {MLFLOW_SOURCE_NAME: f"fashion-tuning {command}", MLFLOW_SOURCE_TYPE: "LOCAL"}
    with suppress(OSError, KeyError):  # an account without a name
        tags[MLFLOW_USER] = getpass.getuser()
    return tags


def _note(card: Card, dataset: DatasetInfo) -> str:
    lines = [card.description, ""] if card.description else []
    if dataset.kind == "drawn":
        lines += ["**Drawn garments, not photos: these figures say nothing about real garments.**", ""]
    counts = ", ".join(f"{split} {sum(labels.values())}" for split, labels in dataset.counts.items())
    lines += [f"- data: {dataset.name} ({counts}), manifest `{dataset.digest}`"]
    if card.space:
        lines += [f"- {name}: {allowed}" for name, allowed in card.space.items()]
    if card.teacher:
        lines += [f"- teacher: study {card.teacher.study}"]
    lines += [f"- {count(card.training.seeds, 'seed')}, at most {count(card.training.epochs, 'epoch')} per trial"]
    return "\n".join(lines)
