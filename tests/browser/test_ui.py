"""MLflow's UI on a study of twenty trials, in a real browser: what a person needs shows without any set-up."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pages
import pytest
from command_line import PROGRAM, clean_environment
from small_card import make_card_text

from fashion_tuning.data.source import Dataset
from fashion_tuning.report.write import write_report
from fashion_tuning.tracking.records import StudyRecord
from fashion_tuning.tracking.store import Store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(pages.CHROMIUM is None, reason="needs Chromium: sudo apt-get install chromium"),
]

TEXT = make_card_text("random", "max_trials = 20")


@pytest.fixture(scope="module")
def study(
    tmp_path_factory: pytest.TempPathFactory,
    new_uri: Callable[[Path], str],
    run_study: Callable[[str, str], StudyRecord],
) -> tuple[str, StudyRecord, Path]:
    """A store with a study of twenty trials and its report: URI, record, folder of the report."""
    folder = tmp_path_factory.mktemp("ui")
    uri = new_uri(folder)
    record = run_study(TEXT, uri)
    write_report(Store(uri), record, folder / "report")
    return uri, record, folder / "report"


@pytest.fixture(scope="module")
def browser() -> Iterator[pages.Browser]:
    with pages.chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def ui(
    study: tuple[str, StudyRecord, Path], browser: pages.Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[pages.Ui]:
    """`fashion-tuning ui` on that store, and a browser before it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("served")
    process = subprocess.Popen(
        [*PROGRAM, "ui", "--port", str(port), "--tracking-uri", study[0]],
        cwd=folder,
        env=clean_environment(folder, PYTHONWARNINGS="ignore"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 120
        while not _answers(address):
            assert process.poll() is None
            assert time.monotonic() < until, "the UI does not answer"
            time.sleep(0.5)
        yield pages.Ui(pages.new_page(browser), address, "small")
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def test_the_table_of_runs_nests_twenty_trials(ui: pages.Ui, small_dataset: Dataset) -> None:
    ui.runs()
    ui.page.get_by_text("trial 20 ·").first.wait_for()
    names = ui.page.locator("[role=row] a", has_text="trial ").all_inner_texts()
    assert len({name[:8] for name in names}) == 20
    ui.page.get_by_text(small_dataset.name).first.wait_for()  # the dataset's column


def test_the_saved_view_has_the_right_columns_best_first(ui: pages.Ui) -> None:
    ui.best_first()
    headers = set(ui.page.locator("[role=columnheader]").all_inner_texts())
    for name in ("best_val_accuracy", "best_epoch", "seconds", "learning_rate", "dense_units", "dropout"):
        assert any(name in header for header in headers), name
    scores = ui.page.locator("[col-id*=best_val_accuracy][role=gridcell]:not([col-id*=_se])").all_inner_texts()
    shown = [float(one.rstrip("…")) for one in scores if one.strip()]
    assert len(shown) >= 10
    assert shown == sorted(shown, reverse=True)


def test_charts_show_curves(ui: pages.Ui) -> None:
    ui.charts()
    assert ui.page.locator(".js-plotly-plot .scatterlayer .js-line").count() >= 20


def test_the_compare_page_has_parallel_coordinates_of_what_was_searched(ui: pages.Ui) -> None:
    runs = ui.run_ids("trial")
    assert len(runs) == 20
    ui.compare(runs, "best_val_accuracy")
    plot = ui.page.locator(".js-plotly-plot").first
    for name in ("learning_rate", "dense_units", "dropout", "best_val_accuracy"):
        plot.get_by_text(name).first.wait_for()


def test_a_figure_of_the_report_renders(ui: pages.Ui) -> None:
    (study,) = ui.run_ids("study")
    image = ui.picture(study, "report", "history.png")
    assert image.evaluate("one => one.complete && one.naturalWidth") > 500


def test_the_run_says_what_was_found(ui: pages.Ui) -> None:
    (study,) = ui.run_ids("study")
    ui.run(study)
    ui.page.get_by_text("Show more").first.click()
    ui.page.get_by_role("heading", name="Leaderboard").wait_for()
    ui.page.get_by_role("heading", name="In words").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_the_report_opens_from_disk(
    study: tuple[str, StudyRecord, Path], browser: pages.Browser, scheme: str, width: int
) -> None:
    asked, said = [], []
    address = (study[2] / "report.html").as_uri()
    with browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme) as context:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.goto(address)
        wide = page.evaluate("document.documentElement.scrollWidth")
        ink, paper = page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        )
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.className")
        page.keyboard.press("Enter")
        after = page.evaluate("location.hash")
    assert [one for one in asked if not one.startswith("data:")] == [address]
    assert said == []
    assert wide <= width  # on a phone, tables scroll by themselves and the page does not
    assert (_brightness(ink) > _brightness(paper)) == (scheme == "dark")
    assert focused == "skip"
    assert after == "#content"


def _brightness(colour: str) -> float:
    return sum(float(part) for part in colour.strip("rgba()").split(",")[:3])
