"""From the names of studies to their leaderboards and their report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fashion_tuning.errors import FashionTuningError, UsageError
from fashion_tuning.options import READING
from fashion_tuning.quiet import silent_stderr
from fashion_tuning.show_studies import StudyTerminal

if TYPE_CHECKING:
    from fashion_tuning.study.leaderboard import Leaderboard
    from fashion_tuning.tracking.records import StudyRecord
    from fashion_tuning.tracking.store import Store

REPORTS = Path("reports")


def read_boards(names: Sequence[str], *, tracking_uri: str | None) -> tuple[Store, list[Leaderboard]]:
    """The store, and the leaderboard of each study in the order of their names; read-only.

    Raises:
      UsageError: No study of that name, or one named twice.
      NoTrialError: One of them has no completed trial.
      StoreError: The store can't be read.
    """
    with silent_stderr():
        from fashion_tuning.study.leaderboard import leaderboard
        from fashion_tuning.study.lookup import find_study
        from fashion_tuning.tracking.store import Store

    store = Store(tracking_uri, must_exist=True, patience=READING)
    studies = [find_study(store, name) for name in names]
    for place, study in enumerate(studies):
        if study.run_id in [one.run_id for one in studies[:place]]:
            raise UsageError(f"study run {study.run_id} twice, as {names[place]!r}", expected="different studies")
    return store, [leaderboard(store, study) for study in studies]


def start_report(names: Sequence[str], *, output: Path | None, tracking_uri: str | None, as_json: bool) -> None:
    """Writes the report of a study, or of several against the first, and says where.

    Raises:
      FashionTuningError: Of the kind that says what a person has to do.
    """
    terminal = StudyTerminal(as_json=as_json)
    with silent_stderr():
        from fashion_tuning.report.write import write_comparison, write_report
        from fashion_tuning.study.comparison import compare
    with terminal.working("writing the report"):
        store, boards = read_boards(names, tracking_uri=tracking_uri)
        if len(boards) == 1:
            study = boards[0].study
            written = write_report(store, study, output or REPORTS / study.experiment)
        else:
            written = write_comparison(compare(store, boards), output or REPORTS / _together(boards))
    terminal.report(written)


def _together(boards: Sequence[Leaderboard]) -> str:
    """What the report of several studies is called; never what that of one of them is."""
    names = [board.study.experiment for board in boards]
    if len(set(names)) < len(names):  # generations of one study, or cards of one name
        names = [f"{board.study.experiment}-{board.study.run_id[:8]}" for board in boards]
    return "-".join(names)


def report_at_end(store: Store, study: StudyRecord, terminal: StudyTerminal) -> None:
    """The report at the end of another command, which a report that can't be written does not undo."""
    with silent_stderr():
        from fashion_tuning.report.write import write_report
    try:
        with terminal.working("writing the report"):
            written = write_report(store, study, REPORTS / study.experiment)
    except FashionTuningError as error:
        terminal.line(f"no report was written: {error}")
    else:
        terminal.report(written)
