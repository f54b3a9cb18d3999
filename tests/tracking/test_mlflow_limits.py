"""What MLflow can't hold at a time or at all, of data that nobody can change: many classes, long names."""

from collections.abc import Callable
from pathlib import Path

from mlflow.entities import Param
from small_board import trial_record

from fashion_tuning.final.model_card import _named, _table
from fashion_tuning.measures import ClassFigures
from fashion_tuning.tracking import evaluation_run
from fashion_tuning.tracking.evaluation_run import MANIFEST, SPLIT
from fashion_tuning.tracking.store import Store
from fashion_tuning.tracking.trial_run import run_name


def test_an_evaluation_of_very_many_classes_is_recorded_whole(tmp_path: Path, new_uri: Callable[[Path], str]) -> None:
    store = Store(new_uri(tmp_path))
    experiment_id = store.make_experiment("many", description="")
    metrics = {f"recall/class {number}": number / 2000 for number in range(2000)}
    tags = {SPLIT: "test", MANIFEST: "0"}
    with evaluation_run.look(store, experiment_id, name="test", tags=tags) as look:
        (folder := tmp_path / "files").mkdir()
        look.record(metrics, {"views": "1"}, folder)
    run = store.get_run(look.run_id)
    assert run is not None
    assert run.data.metrics == metrics
    assert run.data.params == {"views": "1"}
    assert Param("views", "1").value == "1"


def test_a_run_s_name_fits_and_still_says_which_attempt_it_is() -> None:
    values = {"learning_rate": 0.001, "dense_units": 10, "dropout": 0.1, "backbone": "efficientnetv2_b0"}
    assert (
        run_name(trial_record(7, values=values))
        == "trial 07 · lr 0.001 · dense 10 · drop 0.1 · backbone efficientnetv2_b0"
    )
    long = trial_record(7, values=values | {"backbone": "x" * 300}, attempt=2)
    assert len(run_name(long)) == 250
    assert run_name(long).endswith("x… · attempt 2")


def test_a_model_card_has_room_for_as_many_classes_as_there_are() -> None:
    few = [ClassFigures("dress", 0.5, 0.25, 1 / 3, 4), ClassFigures("a|b", 0.0, 0.0, 0.0, 0)]
    assert _named([figures.name for figures in few]) == "dress, a|b"
    assert _table(few)[2:] == ["| dress | 0.50 | 0.25 | 0.33 | 4 |", "| a\\|b | - | - | - | 0 |"]
    many = [ClassFigures(f"{'服装' * 30} {number}", 0.5, 0.5, 0.5, 4) for number in range(200)]
    assert _named([figures.name for figures in many]).endswith(" more")
    assert len(_named([figures.name for figures in many])) <= 520
    assert len("\n".join(_table(many))) <= 1700
    assert _table(many)[-1].endswith("more in classes.csv of the evaluation run")
