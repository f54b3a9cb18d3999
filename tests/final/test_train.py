"""A final run on a real store, small: real features, real heads, a real registry."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from command_line import clean_environment
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from small_card import make_card_text

from fashion_tuning.config import Card, parse_card
from fashion_tuning.errors import NoTrialError
from fashion_tuning.final.job import Job, make_job
from fashion_tuning.final.outcome import Outcome
from fashion_tuning.final.train import final_train
from fashion_tuning.model.shipped import load
from fashion_tuning.study.events import EpochEnded, Event, TrialStarted
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.inputs import StudyInputs
from fashion_tuning.study.leaderboard import leaderboard
from fashion_tuning.tracking import registry
from fashion_tuning.tracking.records import StudyRecord
from fashion_tuning.tracking.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FINAL = """
[final]
image_size = 80
epochs = 2
patience = 1
learning_rate_factors = [0.5, 2.0]
choose = "{choose}"
"""
TEXT = make_card_text("random", "max_trials = 4") + FINAL.format(choose="smallest")


@dataclass(frozen=True)
class Setting:
    uri: str
    study: StudyRecord
    inputs: StudyInputs
    worker: Worker

    def job(self, *, top: int = 3, card: Card | None = None) -> Job:
        inputs = replace(self.inputs, card=card or self.inputs.card)
        return make_job(inputs, Store(self.uri), self.study, top=top)

    def run(self, job: Job, *, report: Callable[[Event], None] = lambda _: None, **options: object) -> Outcome:
        return final_train(job, Store(self.uri), workers=[self.worker], report=report, tell=lambda _: None, **options)

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)

    def runs(self, kind: str) -> list[Run]:
        experiment = self.client.get_experiment_by_name("small")
        return self.client.search_runs([experiment.experiment_id], f"tags.`fashion.kind` = '{kind}'")


@pytest.fixture(scope="module")
def setting(
    tmp_path_factory: pytest.TempPathFactory,
    new_uri: Callable[[Path], str],
    inputs_of_text: Callable[[str], StudyInputs],
    run_study: Callable[[str, str], StudyRecord],
    worker: Worker,
) -> Setting:
    """A finished study."""
    uri = new_uri(tmp_path_factory.mktemp("final"))
    study, inputs = run_study(TEXT, uri), inputs_of_text(TEXT)
    return Setting(uri, study, inputs, worker)


@pytest.fixture(scope="module")
def outcome(setting: Setting) -> Outcome:
    """A final run that was interrupted in its third trial, and then came to its end."""

    def interrupt(event: Event) -> None:
        if isinstance(event, EpochEnded) and event.record.trial == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        setting.run(setting.job(), report=interrupt)
    return setting.run(setting.job())


def trials(setting: Setting, outcome: Outcome) -> list[Run]:
    found = [run for run in setting.runs("trial") if run.data.tags["mlflow.parentRunId"] == outcome.final.run_id]
    return sorted(found, key=lambda run: (int(run.data.tags["fashion.trial"]), int(run.data.tags["fashion.attempt"])))


def test_every_configuration_runs_again_at_the_final_size(setting: Setting, outcome: Outcome) -> None:
    runs = trials(setting, outcome)
    finished = [run for run in runs if run.info.status == "FINISHED"]
    assert [run.info.status for run in runs].count("KILLED") == 1
    stages = [run.data.tags["fashion.stage"] for run in finished]
    assert stages == ["candidate"] * 4 + ["baseline"] + ["learning_rate"] * 2
    assert {run.data.params["image_size"] for run in finished} == {"80"}
    studied = {run.data.tags["fashion.values"] for run in setting.runs("trial") if "fashion.stage" not in run.data.tags}
    assert {run.data.tags["fashion.values"] for run in finished[:4]} == studied
    baseline = json.loads(finished[4].data.tags["fashion.values"])
    assert baseline == {"learning_rate": 0.0005, "dense_units": 100, "dropout": 0.2}
    rates = [json.loads(run.data.tags["fashion.values"])["learning_rate"] for run in finished[5:]]
    assert rates == pytest.approx([outcome.candidate.values["learning_rate"] * factor for factor in (0.5, 2.0)])
    for run in finished:
        assert run.data.tags["fashion.study"] == setting.study.digest
        assert {"best_val_accuracy", "best_val_accuracy_se", "seed_2/val_loss"} <= set(run.data.metrics)
        best = f"checkpoints/seed_1/epoch_{int(run.data.metrics['best_epoch']):02d}.keras"
        assert any(one.path == best for one in setting.client.list_artifacts(run.info.run_id, "checkpoints/seed_1"))


def test_the_final_run_says_what_was_chosen_and_how_the_sizes_agree(setting: Setting, outcome: Outcome) -> None:
    run = setting.client.get_run(outcome.final.run_id)
    assert run.info.status == "FINISHED"
    tags = run.data.tags
    assert tags["fashion.study"] == setting.study.digest
    assert tags["fashion.chosen_run"] == outcome.winner.run_id
    source = setting.client.get_run(tags["fashion.source_trial_run"])
    assert f"trial {int(source.data.tags['fashion.trial']):02d}" == outcome.candidate.source
    (point,) = setting.client.get_metric_history(run.info.run_id, "best_val_accuracy")
    assert point.value == outcome.winner.metrics["best_val_accuracy"]
    assert run.data.metrics["parity"] <= 1e-4
    assert outcome.correlation is not None
    assert outcome.correlation.num_trials == 4
    if not np.isnan(outcome.correlation.value):
        assert run.data.metrics["rank_correlation"] == outcome.correlation.value
        assert outcome.correlation.low <= outcome.correlation.high


def test_only_the_best_of_the_study_may_be_chosen(setting: Setting, outcome: Outcome) -> None:
    job = setting.job(top=1)
    board = [run for run in setting.runs("trial") if "fashion.stage" not in run.data.tags]
    chosen = leaderboard(Store(setting.uri), setting.study).chosen
    assert job.chosen_from == (chosen.trial,)
    assert chosen.trial in setting.job(top=2).chosen_from
    assert len(board) == 4
    assert len(job.sources) == 4
    assert job.origin().digest != setting.job().origin().digest
    assert setting.job().origin().digest == outcome.final.digest


def test_the_model_is_registered_and_mlflow_loads_it(setting: Setting, outcome: Outcome, tmp_path: Path) -> None:
    client = setting.client
    for alias in ("candidate", "champion"):
        version = client.get_model_version_by_alias("fashion-classifier", alias)
        assert version.run_id == outcome.final.run_id
    assert version.tags["fashion.manifest"] == setting.inputs.dataset.manifest.digest
    assert version.tags["fashion.trial_run"] == outcome.winner.run_id
    assert version.tags["fashion.champion_decision"] == "there was no champion"
    assert "### Limits" in version.description
    photos = setting.inputs.dataset.manifest.select("validation")[:3]
    paths = [str(setting.inputs.dataset.path(photo)) for photo in photos]
    program = (
        "import sys, mlflow, numpy as np, pandas as pd; from PIL import Image\n"
        f"mlflow.set_tracking_uri({setting.uri!r})\n"
        "model = mlflow.pyfunc.load_model('models:/fashion-classifier@champion')\n"
        "files = [open(path, 'rb').read() for path in sys.argv[1:]]\n"
        "arrays = [np.array(Image.open(path).convert('RGB')) for path in sys.argv[1:]]\n"
        "print(model.predict(pd.DataFrame({'image': files})).to_json())\n"
        "print(model.predict({'image': arrays}).to_json())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *paths],
        cwd=tmp_path,
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    of_bytes, of_arrays = (json.loads(line) for line in done.stdout.strip().splitlines()[-2:])
    assert list(of_bytes) == list(setting.inputs.dataset.manifest.classes)
    assert of_bytes == of_arrays
    kept = json.loads(done.stdout.strip().splitlines()[-2])
    sums = [sum(kept[name][row] for name in kept) for row in ("0", "1", "2")]
    assert sums == pytest.approx([1, 1, 1], abs=1e-5)


def test_the_whole_model_says_what_is_on_record(setting: Setting, outcome: Outcome) -> None:
    store = Store(setting.uri)
    with registry.model_file(store, outcome.version) as path:
        model, card = load(path)
    assert card.class_names == setting.inputs.dataset.manifest.classes
    assert (card.image_size, card.interpolation) == (80, "nearest")
    assert model.input_shape == (None, 80, 80, 3)
    assert model.inputs[0].dtype == "uint8"
    assert outcome.parity is not None
    assert outcome.parity.num_images == len(setting.inputs.dataset.manifest.select("validation"))


def test_test_is_looked_at_once_after_everything_is_chosen(setting: Setting, outcome: Outcome) -> None:
    (run,) = [one for one in setting.runs("evaluation") if one.data.tags["fashion.final_run"] == outcome.final.run_id]
    assert (outcome.evaluation.run_id, outcome.evaluation.look) == (run.info.run_id, 1)
    tags, metrics = run.data.tags, run.data.metrics
    assert (tags["fashion.split"], tags["fashion.look"]) == ("test", "1")
    assert tags["fashion.manifest"] == setting.inputs.dataset.manifest.digest
    figures = outcome.evaluation.figures
    assert figures.num_images == len(setting.inputs.dataset.manifest.select("test"))
    assert metrics["accuracy"] == figures.accuracy
    assert {"macro_f1", "top_3", "log_loss", "calibration_error", "seeds_mean", "seeds_sd", "mcnemar_p"} <= set(metrics)
    last = max(one.info.end_time for one in trials(setting, outcome))
    assert run.info.start_time >= last
    names = {one.path for one in setting.client.list_artifacts(run.info.run_id)}
    assert names == {
        "classes.csv",
        "confusion.csv",
        "confusion.png",
        "mistakes.png",
        "predictions.npz",
        "reliability.png",
    }
    folder = Path(setting.client.download_artifacts(run.info.run_id, ""))
    with np.load(folder / "predictions.npz") as kept:
        assert (kept["probabilities"][0].argmax(-1) == kept["labels"]).mean() == figures.accuracy
    assert (folder / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_start_does_nothing_again(setting: Setting, outcome: Outcome) -> None:
    kinds = ("trial", "final", "evaluation")
    before = [len(setting.runs(kind)) for kind in kinds]
    started: list[Event] = []
    again = setting.run(setting.job(), report=lambda event: started.append(event))
    assert not any(isinstance(event, TrialStarted) for event in started)
    assert [len(setting.runs(kind)) for kind in kinds] == before
    assert again.version == replace(outcome.version, tags=again.version.tags)
    assert again.promotion.reason == "there was no champion"
    # What was seen is shown again, without looking again.
    assert again.evaluation.metrics() == outcome.evaluation.metrics()
    assert (again.evaluation.run_id, again.evaluation.look) == (outcome.evaluation.run_id, 1)


def test_champion_moves_unless_the_candidate_is_worse(setting: Setting, outcome: Outcome) -> None:
    card = parse_card(TEXT.replace("epochs = 2\npatience = 1", "epochs = 1\npatience = 1"), name="card")
    kept = setting.run(setting.job(card=card), override=False)
    assert not kept.promotion.moved
    assert kept.promotion.champion is not None
    assert kept.promotion.champion.number == outcome.version.number
    assert "--no-promote" in kept.promotion.reason
    assert kept.evaluation.look == 2  # another look at the same photos
    version = setting.client.get_model_version_by_alias("fashion-classifier", "candidate")
    assert version.run_id == kept.final.run_id
    assert "--no-promote" in version.tags["fashion.champion_decision"]

    again = setting.run(setting.job(card=card))
    assert again.promotion == kept.promotion  # decided once
    other = parse_card(TEXT.replace('choose = "smallest"', 'choose = "best"'), name="card")
    third = setting.run(setting.job(card=other))
    assert "McNemar" in third.promotion.reason
    champion = setting.client.get_model_version_by_alias("fashion-classifier", "champion")
    assert (champion.run_id == third.final.run_id) == third.promotion.moved
    forced = setting.run(setting.job(card=card), override=True)
    champion = setting.client.get_model_version_by_alias("fashion-classifier", "champion")
    assert forced.promotion.moved
    assert champion.run_id == forced.final.run_id


def test_a_fixed_card_needs_no_study(setting: Setting, tmp_path: Path, new_uri: Callable[[Path], str]) -> None:
    text = "\n".join(make_card_text().split("[[configurations]]")[:2]).replace(
        "\nlearning_rate", "\n[[configurations]]\nlearning_rate"
    )
    card = parse_card(text + FINAL.format(choose="best"), name="card")
    assert card.is_fixed
    store = Store(new_uri(tmp_path))
    job = make_job(replace(setting.inputs, card=card), store, None, top=3)
    outcome = final_train(job, store, workers=[setting.worker], report=lambda _: None, tell=lambda _: None)
    assert [record.stage for record in outcome.trials] == ["candidate", "baseline", "learning_rate", "learning_rate"]
    assert outcome.correlation is None
    assert outcome.promotion.moved


def test_a_study_without_a_completed_trial_has_no_final_run(setting: Setting) -> None:
    empty = replace(setting.study, run_id="0" * 32)
    with pytest.raises(NoTrialError):
        make_job(setting.inputs, Store(setting.uri), empty, top=3)
