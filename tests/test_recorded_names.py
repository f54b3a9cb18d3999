"""What names a study, its features and its runs on record: every version has to find them again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fashion_tuning.config import load_card
from fashion_tuning.data.download import shipped_manifest
from fashion_tuning.data.source import Dataset
from fashion_tuning.data.verify import Verification
from fashion_tuning.model.weights import PINNED_DIGEST, Weights
from fashion_tuning.study.inputs import StudyInputs, key_at
from fashion_tuning.tracking import evaluation_run, lease, notes, registry, states, tag_names

EXPERIMENTS = Path(__file__).parents[1] / "experiments"

# On the shipped photos, with TensorFlow on a processor: the study's digest and that of its first backbone's features.
# The distilled one stands here as it is without a teacher, whose run's id is made up at its start.
STUDIES = {
    "augmentation_150": ("f9b2b40382f0c2d8", "95280edba1dfbf601ca81a15"),
    "backbones": ("d40f1f58ecc8fa53", "95280edba1dfbf601ca81a15"),
    "course": ("87991cc4c289f8a6", "95280edba1dfbf601ca81a15"),
    "course_299": ("37ef970f25f29ce1", "0c21ca9f75e47edf19d5d1ca"),
    "demo": ("9600c820f8af997e", "921a0dcdf5d502ff95ed25e2"),
    "distilled_299": ("7dab284cca6f18c7", "23ae0caa9d71960463a99c3c"),
    "fine_tune_299": ("098d016c111ca290", "23ae0caa9d71960463a99c3c"),
    "fine_tune_seeds": ("705c17c060758cc9", "23ae0caa9d71960463a99c3c"),
    "xception_150": ("528b8a2218a24001", "95280edba1dfbf601ca81a15"),
}

TAGS = {
    "fashion.kind",
    "fashion.study",
    "fashion.digest",
    "fashion.stage",
    "fashion.generation",
    "fashion.parts",
    "fashion.described",
    "fashion.trial",
    "fashion.attempt",
    "fashion.resumed_from",
    "fashion.ask",
    "fashion.tell",
    "fashion.values",
    "fashion.scope",
    "fashion.epochs",
    "fashion.listed",
    "fashion.source",
    "fashion.published_val_accuracy",
    "fashion.pruned",
    "fashion.error",
    "fashion.error_message",
    "fashion.photos",
    "fashion.manifest",
    "fashion.commit",
    "fashion.machine",
    "fashion.versions",
    "fashion.teacher_run",
    "fashion.source_study_run",
    "fashion.source_trial_run",
    "fashion.candidate_run",
    "fashion.chosen_run",
    "fashion.trial_run",
    "fashion.study_run",
    "fashion.owner",
    "fashion.split",
    "fashion.model",
    "fashion.final_run",
    "fashion.by",
    "fashion.look",
    "fashion.model_sha256",
    "mlflow.parentRunId",
    "mlflow.note.content",
}


@pytest.fixture
def inputs_of_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], StudyInputs]:
    """A function from a shipped card's name to its inputs, on the shipped manifest, with TensorFlow."""
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    dataset = Dataset("clothing-dataset-small", tmp_path, "folder", Verification(shipped_manifest(), (), (), ()))

    def make(name: str) -> StudyInputs:
        card = load_card(EXPERIMENTS / f"{name}.toml")
        weights = {
            backbone: Weights(
                backbone, PINNED_DIGEST if backbone == "xception" else f"of-{backbone}", tmp_path, "cache"
            )
            for backbone in card.backbones()
        }
        return StudyInputs(card, "", dataset, weights, tmp_path)

    return make


def test_every_shipped_card_finds_its_study_and_its_features_again(inputs_of_card) -> None:
    assert set(STUDIES) == {path.stem for path in EXPERIMENTS.glob("*.toml")}
    digests = {}
    for name in STUDIES:
        inputs = inputs_of_card(name)
        backbone, cut = inputs.card.prefixes()[0]
        digests[name] = (inputs.study.digest, key_at(inputs.keys[backbone], cut).digest)
    assert digests == STUDIES


def test_no_tag_on_record_has_another_name_now() -> None:
    modules = (tag_names, lease, evaluation_run, registry, notes)
    named = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, str) and value.startswith(("fashion.", "mlflow."))
    }
    assert named >= TAGS


def test_artifacts_on_record_lie_where_they_lay() -> None:
    assert (states.STATES, states.CHECKPOINTS, registry.FOLDER) == ("resume", "checkpoints", "model")
