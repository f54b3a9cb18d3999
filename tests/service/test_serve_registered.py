"""The service on a registry: the champion, held to its record, with the numbers of `predict`, and followed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import run
from mlflow.artifacts import download_artifacts
from mlflow.tracking import MlflowClient
from serving import TOKEN, garment, serve
from small_card import make_card_text
from study_process import all_runs

from fashion_tuning.data.source import Dataset
from fashion_tuning.service.registered import find_registered
from fashion_tuning.study.best_epoch import unsure_below
from fashion_tuning.tracking import registry
from fashion_tuning.tracking.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

JPEG = {"content-type": "image/jpeg"}
CARD = (
    "\n[[configurations]]".join(make_card_text().split("\n[[configurations]]")[:2])
    + "\n[final]\nimage_size = 80\nepochs = 1\nlearning_rate_factors = []\n"
)


@pytest.fixture(scope="module")
def uri(make_champion: Callable[[str], str]) -> str:
    """A store with a champion."""
    return make_champion(CARD)


def test_the_champion_answers_as_predict_does_and_is_followed(uri: str, tmp_path: Path) -> None:
    photos = {f"{label}.jpg": garment(label) for label in ("dress", "hat", "shoes")}
    for name, photo in photos.items():
        (tmp_path / name).write_bytes(photo)
    done = run("predict", *photos, "--top", "10", "--json", folder=tmp_path, MLFLOW_TRACKING_URI=uri)
    expected = {
        line["path"]: {one["category"]: one["probability"] for one in line["ranked"]}
        for line in map(json.loads, done.stdout.splitlines())
    }
    options = ("--tracking-uri", uri, "--token", TOKEN, "--poll", "0")
    with serve(tmp_path, *options) as server, server.client(headers={"authorization": f"Bearer {TOKEN}"}) as client:
        files = [("file", (name, photo)) for name, photo in photos.items()]
        found = client.post("/v1/predict", files=files).json()
        assert found["model"] == {"name": "fashion-classifier", "version": "1"}
        for result in found["results"]:
            answered = {one["category"]: one["probability"] for one in result["categories"]}
            assert answered == pytest.approx(expected[result["file"]], abs=1e-4)
        registered = find_registered(Store(uri), "fashion-classifier")
        threshold = unsure_below(Store(uri), registered.subject.winner)
        assert client.get("/v1/categories").json()["unsure_below"] == pytest.approx(threshold)

        mlflow = MlflowClient(uri)
        source = mlflow.get_model_version("fashion-classifier", "1")
        wrong = mlflow.create_model_version(
            "fashion-classifier", source.source, source.run_id, tags={registry.DIGEST: "0" * 64}
        )
        mlflow.set_registered_model_alias("fashion-classifier", "champion", wrong.version)
        refused = client.post("/v1/reload")
        assert (refused.status_code, "was changed" in refused.json()["detail"]) == (409, True)
        assert client.get("/v1/categories").json()["model"]["version"] == "1"
        right = mlflow.create_model_version("fashion-classifier", source.source, source.run_id)
        mlflow.set_registered_model_alias("fashion-classifier", "champion", right.version)
        assert client.post("/v1/reload").json()["model"]["version"] == str(right.version)
        mlflow.set_registered_model_alias("fashion-classifier", "champion", "1")
        assert client.post("/v1/reload").json()["model"]["version"] == "1"


def test_it_answers_what_evaluate_has_measured(uri: str, small_dataset: Dataset, tmp_path: Path) -> None:
    (look,) = (one for one in all_runs(uri) if one.data.tags["fashion.kind"] == "evaluation")
    kept = np.load(download_artifacts(run_id=look.info.run_id, artifact_path="predictions.npz", tracking_uri=uri))
    with serve(tmp_path, "--tracking-uri", uri) as server, server.client() as client:
        for path, expected in zip(kept["paths"], kept["probabilities"][0], strict=True):
            result = client.post("/v1/predict", content=(small_dataset.root / path).read_bytes(), headers=JPEG).json()
            answered = {one["category"]: one["probability"] for one in result["results"][0]["categories"]}
            assert [answered[name] for name in sorted(answered)] == pytest.approx(expected.tolist(), abs=1e-4)


def test_a_file_that_was_changed_is_not_served(uri: str, tmp_path: Path) -> None:
    store = Store(uri)
    version = registry.require_version(store, "fashion-classifier/1")
    assert len(version.tags[registry.DIGEST]) == 64
    with registry.model_file(store, version) as path:
        shutil.copy(path, tmp_path / "kept")
        try:
            with path.open("ab") as file:
                file.write(b"\0")
            done = run("serve", "--model", "fashion-classifier/1", folder=tmp_path, MLFLOW_TRACKING_URI=uri)
        finally:
            shutil.copy(tmp_path / "kept", path)
    assert (done.returncode, "was changed" in done.stderr) == (5, True), done.stderr


def test_without_a_champion_it_says_what_makes_one(new_uri: Callable[[Path], str], tmp_path: Path) -> None:
    done = run("serve", folder=tmp_path, MLFLOW_TRACKING_URI=new_uri(tmp_path / "none"))
    assert (done.returncode, "final-train makes one" in done.stderr) == (2, True), done.stderr


def test_a_models_folder_as_mlflow_keeps_it(uri: str, tmp_path: Path) -> None:
    store = Store(uri)
    with registry.model_file(store, registry.require_version(store, "fashion-classifier/1")) as path:
        folder = path.parents[1]
        assert (folder / "MLmodel").is_file()
        with serve(tmp_path, "--model", str(folder)) as server, server.client() as client:
            assert client.post("/v1/predict", content=garment(), headers=JPEG).status_code == 200
