"""A study that searches the backbone: each trial on the features of its own, and the final run with the best one's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import pytest

from fashion_tuning.config import parse_card
from fashion_tuning.data.source import Dataset
from fashion_tuning.final.job import make_job
from fashion_tuning.final.train import final_train
from fashion_tuning.model.classifier import Classifier
from fashion_tuning.model.weights import Weights, array_digest
from fashion_tuning.study.check import check
from fashion_tuning.study.executors import Worker
from fashion_tuning.study.inputs import StudyInputs
from fashion_tuning.study.replay import replay
from fashion_tuning.study.tune import tune
from fashion_tuning.tracking import registry
from fashion_tuning.tracking.records import latest_attempts, read_attempts
from fashion_tuning.tracking.store import Store

SMALL = "mobilenetv3_small"
CARD = """
name = "backbones"
seed = 3
[images]
image_size = 71
[training]
epochs = 2
[final]
image_size = 80
epochs = 2
learning_rate_factors = []
choose = "best"
[search]
tuner = "random"
max_trials = 4
[space]
backbone = { values = ["xception", "mobilenetv3_small"] }
learning_rate = { type = "float", min_value = 1e-4, max_value = 1e-2, sampling = "log" }
dense_units = { value = 0 }
dropout = { values = [0.0, 0.2] }
batch_size = { values = [16, 32] }
[[configurations]]
learning_rate = 0.001
dense_units = 0
dropout = 0.0
[[configurations]]
backbone = "mobilenetv3_small"
batch_size = 16
learning_rate = 0.001
dense_units = 0
dropout = 0.0
"""


@pytest.fixture(scope="module")
def inputs(
    tmp_path_factory: pytest.TempPathFactory, small_dataset: Dataset, weights: Weights, feature_cache: Path
) -> StudyInputs:
    """With random weights of the second backbone, for no download is needed then."""
    keras.utils.set_random_seed(1)
    network = keras.applications.MobileNetV3Small(
        include_top=False, weights=None, input_shape=(None, None, 3), include_preprocessing=False
    )
    path = tmp_path_factory.mktemp("weights") / f"{SMALL}.weights.h5"
    network.save_weights(path)
    both = {"xception": weights, SMALL: Weights(SMALL, array_digest(network), path, "file")}
    return StudyInputs(parse_card(CARD, name="card"), CARD, small_dataset, both, feature_cache)


def test_weights_of_every_backbone_decide_the_study(inputs: StudyInputs) -> None:
    for name, one in inputs.weights.items():
        others = replace(inputs, weights={**inputs.weights, name: replace(one, digest="0" * 32)})
        assert others.study.digest != inputs.study.digest


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_trial_has_the_features_of_its_backbone(
    tmp_path: Path, new_uri: Callable[[Path], str], inputs: StudyInputs, worker: Worker
) -> None:
    store = Store(new_uri(tmp_path))
    study = tune(inputs, store, workers=[worker], max_trials=None, fresh=False, report=lambda _: None)
    trials = {record.trial: record for record in latest_attempts(read_attempts(store, study))}
    assert [trials[number].values["backbone"] for number in (1, 2)] == ["xception", SMALL]
    # A head on 2,048 features against one on 576, of ten classes each.
    widths = {record.values["backbone"]: record.trainable_parameters for record in trials.values()}
    assert widths == {"xception": 2049 * 10, SMALL: 577 * 10}
    found = check(store, study, cache_dir=inputs.cache_dir)
    assert (found.differences, found.notes) == ((), ())
    again = replay(store, trials[2].run_id, worker=worker, cache_dir=inputs.cache_dir, tolerance=0.0)
    assert again.agrees

    job = make_job(inputs, store, study, top=1)
    assert job.baseline["backbone"] == "xception"
    small = replace(job, chosen_from=(2,))  # whichever has won: the one that is not the card's own
    outcome = final_train(small, store, workers=[worker], report=lambda _: None, tell=lambda _: None)
    assert outcome.winner.values["backbone"] == SMALL
    assert outcome.baseline is not None
    assert outcome.baseline.values["backbone"] == "xception"
    assert outcome.parity is not None
    assert outcome.parity.largest_difference <= 1e-4
    shown = store.call(lambda client: client.get_run(outcome.final.run_id)).data.params
    assert (shown["backbone"], shown["batch_size"]) == (SMALL, "16")
    with registry.model_file(store, outcome.version) as path:
        assert Classifier(path).sizing.image_size == 80
