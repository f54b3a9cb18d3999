"""Records of a study as its store would give them, for what is shown of it."""

from dataclasses import replace

from fashion_tuning.study.leaderboard import Leaderboard, Row
from fashion_tuning.tracking.records import StudyRecord, TrialRecord

STUDY = StudyRecord(
    run_id="5" * 32,
    experiment="xception-150",
    digest="0123456789abcdef",
    generation=1,
    status="FINISHED",
    parts={},
    photos="folder",
    start_time=0,
)


def trial_record(trial: int, score: float = 0.8308, **changes: object) -> TrialRecord:
    """A completed trial with the widest values that a table has to hold."""
    record = TrialRecord(
        run_id=f"{trial:02d}" * 16,
        trial=trial,
        attempt=1,
        ask=2 * trial,
        tell=2 * trial + 1,
        status="FINISHED",
        values={"learning_rate": 0.000517, "dense_units": 1000, "dropout": 0.3},
        scope={},
        epochs=10,
        listed=False,
        metrics={
            "best_val_accuracy": score,
            "best_val_accuracy_se": 0.0191,
            "best_epoch": 10,
            "epochs_run": 10,
            "seconds": 112.34,
        },
    )
    return replace(record, **changes)  # type: ignore[arg-type]


def failed_record(trial: int) -> TrialRecord:
    return trial_record(trial, status="FAILED", metrics={}, error="diverged", error_message="loss is NaN in epoch 2")


def small_board(*, num_tied: int = 3) -> Leaderboard:
    """Twenty trials, the first ones tied, the second one with a published figure; and a failed one."""
    rows = [Row(rank, trial_record(rank, 0.84 - rank / 1000), rank <= num_tied, (0.8, 0.82)) for rank in range(1, 21)]
    rows[1] = replace(rows[1], record=trial_record(2, 0.838, source="book, 10 epochs", published_val_accuracy=0.8299))
    return Leaderboard(STUDY, tuple(rows), (failed_record(21),), chosen=rows[1].record, flattery=0.0123)
