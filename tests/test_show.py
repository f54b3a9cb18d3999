"""What stands on a terminal of 80 characters, in a pipe, and in JSON."""

import json
import os
import pty
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from small_board import STUDY, small_board

from fashion_tuning.model.cache import CacheEntry
from fashion_tuning.service.predict import Prediction
from fashion_tuning.show_models import ModelTerminal
from fashion_tuning.show_studies import StudyTerminal


def on_a_terminal(show: Callable[[], object], monkeypatch: pytest.MonkeyPatch, *, columns: int = 80) -> list[str]:
    """The lines that `show` writes to a pseudo-terminal of so many characters in the place of stdout."""
    far_end, near_end = pty.openpty()
    with ThreadPoolExecutor() as pool, monkeypatch.context() as patch:
        written = pool.submit(_read_to_the_end, far_end)
        with os.fdopen(near_end, "w", encoding="utf-8") as terminal:
            patch.setenv("COLUMNS", f"{columns}")
            patch.setenv("TERM", "xterm")
            patch.setattr(sys, "stdout", terminal)
            show()
        text = written.result().decode()
    os.close(far_end)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r\n", "\n").splitlines()


def _read_to_the_end(descriptor: int) -> bytes:
    read = b""
    while True:
        try:
            read += os.read(descriptor, 65536)
        except OSError:  # how a pseudo-terminal says that its other end is closed
            return read


def test_a_leaderboard_fits_a_terminal_of_80_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = on_a_terminal(lambda: StudyTerminal().leaderboard(small_board()), monkeypatch)
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert not any("…" in line for line in lines)
    rows = [line.split() for line in lines if re.match(r" *\d+=? +\d\d ", line)]
    assert len(rows) == 20
    assert rows[0] == ["1=", "01", "0.000517", "1000", "0.3", "0.8390", "±", "0.0191", "10/10", "112.3", "01010101"]
    assert rows[1][-2:] == ["0.8299", "02020202"]
    assert rows[3][0] == "4"
    assert any(line.startswith("=  2 more tie with the best") for line in lines)
    assert any("published: " in line for line in lines)
    assert "failed: trial 21: diverged: loss is NaN in epoch 2" in lines


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 150])
def test_rows_are_whole_at_every_width(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = on_a_terminal(lambda: StudyTerminal().leaderboard(small_board()), monkeypatch, columns=columns)
    rows = lines[2 : next(number for number, line in enumerate(lines) if line.startswith("=  "))]
    text = "\n".join(rows)
    assert "…" not in text
    assert max(map(len, rows)) <= columns
    assert text.count("0.000517") == text.count("10/10") == text.count("112.3") == 20
    assert all(f"{trial:02d}" * 4 in text for trial in range(1, 21))
    assert not [line for line in lines if line != line.rstrip()]


def test_what_goes_into_a_file_has_no_space_at_the_end_of_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = ModelTerminal()
    terminal.leaderboard(small_board())
    terminal.cache(Path("/cache"), [CacheEntry("features", "0123", Path("/cache/0123"), 2_000_000, "complete", 0.0)])
    terminal.predictions([Prediction(Path("a hat.jpg"), (("hat", 0.9), ("dress", 0.1)), 0.5)])
    terminal.next_steps(STUDY, tracking_uri=None, card_path=Path("card.toml"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 35
    assert not [line for line in lines if line != line.rstrip()]


def test_the_name_of_a_file_says_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    StudyTerminal().line("  :hat:/\x1b[31m.jpg: truncated")
    assert capsys.readouterr().out == "  :hat:/\ufffd[31m.jpg: truncated\n"


def test_a_leaderboard_in_a_pipe_has_whole_run_ids_and_sources(capsys: pytest.CaptureFixture[str]) -> None:
    StudyTerminal().leaderboard(small_board())
    text = capsys.readouterr().out
    assert all(f"{trial:02d}" * 16 in text for trial in range(1, 21))
    assert "0.8299 (book, 10 epochs)" in text
    assert "cut short" not in text


def test_a_best_trial_without_a_tie_has_no_mark(capsys: pytest.CaptureFixture[str]) -> None:
    StudyTerminal().leaderboard(small_board(num_tied=1))
    assert "=" not in capsys.readouterr().out


def test_a_leaderboard_says_when_there_is_nothing_more_and_of_luck_only_where_there_is_some(
    capsys: pytest.CaptureFixture[str],
) -> None:
    board = replace(small_board(num_tied=2), flattery=0.0, exhausted="the grid has no more than 20 combinations")
    StudyTerminal().leaderboard(board)
    text = capsys.readouterr().out
    assert "flattery: no sign that the best score owes anything to luck of the pick\n" in text
    assert "all trials have been run: the grid has no more than 20 combinations\n" in text
    assert "=  1 more ties with the best" in text
    StudyTerminal().leaderboard(small_board())
    text = capsys.readouterr().out
    assert "about 0.0123 of the best score is luck of the pick; 0.8267 without it" in text
    assert "all trials" not in text


def test_a_leaderboard_in_json_is_one_line_with_everything(capsys: pytest.CaptureFixture[str]) -> None:
    StudyTerminal(as_json=True).leaderboard(small_board())
    event = json.loads(capsys.readouterr().out)
    assert event["event"] == "leaderboard"
    assert event["study"]["run_id"] == STUDY.run_id
    assert [row["trial"] for row in event["rows"]] == list(range(1, 21))
    assert [row["tied_with_best"] for row in event["rows"][:5]] == [True, True, True, False, False]
    assert [record["error"] for record in event["failed"]] == ["diverged"]


def test_news_with_json_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = StudyTerminal(as_json=True)
    terminal.line("news")
    terminal.next_steps(STUDY, tracking_uri=None, card_path=Path("card.toml"))
    assert capsys.readouterr() == ("", "news\n")


def test_next_steps_can_be_typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [".venv/bin/fashion-tuning", "tune"])
    monkeypatch.setenv("PATH", "/none")
    StudyTerminal().next_steps(STUDY, tracking_uri="sqlite:////a b/mlflow.db", card_path=Path("my card.toml"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith(
        "  .venv/bin/fashion-tuning tune 'my card.toml' --max-trials N --tracking-uri 'sqlite:////a b/mlflow.db'"
    )
    assert any(
        line.endswith("fashion-tuning leaderboard xception-150 --tracking-uri 'sqlite:////a b/mlflow.db'")
        for line in lines
    )


@pytest.mark.parametrize(
    ("address", "option", "first"),
    [
        ("http://ana:geheim@host:5000", " --tracking-uri http://host:5000", "MLFLOW_TRACKING_PASSWORD"),
        ("postgresql://ana:geheim@host/db", "", "MLFLOW_TRACKING_URI"),
        ("https://host/?token=geheim", "", "MLFLOW_TRACKING_URI"),
    ],
)
def test_next_steps_leave_a_password_out(
    address: str, option: str, first: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["pytest"])
    StudyTerminal().next_steps(STUDY, tracking_uri=address, card_path=None)
    said = capsys.readouterr().out
    assert "geheim" not in said
    assert f"  fashion-tuning leaderboard xception-150{option}\n" in said
    assert f"{first} set" in said


def test_next_steps_name_the_folders_of_photos_again(capsys: pytest.CaptureFixture[str]) -> None:
    StudyTerminal().next_steps(
        STUDY, tracking_uri=None, card_path=Path("card.toml"), data_dirs=[Path("my photos"), Path("more")]
    )
    trains = [line for line in capsys.readouterr().out.splitlines() if "tune card" in line or "final-train" in line]
    assert len(trains) == 2
    assert all("--data 'my photos' --data more" in line for line in trains)


def test_next_steps_are_short_where_the_program_is_on_the_path(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "fashion-tuning"
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(program), "tune"])
    monkeypatch.setenv("PATH", str(tmp_path))
    StudyTerminal().next_steps(replace(STUDY, experiment="demo-drawn"), tracking_uri=None, card_path=Path("card.toml"))
    assert "  fashion-tuning leaderboard demo-drawn\n" in capsys.readouterr().out


def test_counting_shows_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def count() -> None:
        with StudyTerminal().counting("verifying photos") as tell:
            tell(1, 2)
            tell(2, 2)

    assert re.search(r"verifying photos .* 2 of 2", "\n".join(on_a_terminal(count, monkeypatch)))


def test_counting_is_silent_in_a_pipe_where_it_is_quick(capsys: pytest.CaptureFixture[str]) -> None:
    with StudyTerminal().counting("verifying photos") as tell:
        tell(1, 2)
        tell(2, 2)
    assert capsys.readouterr().out == ""
