"""The MLflow UI as a person uses it, in Debian's Chromium; also takes the screenshots of the README.

python tests/browser/pages.py http://127.0.0.1:5000 EXPERIMENT FOLDER
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from mlflow.tracking import MlflowClient
from playwright.sync_api import Browser, Locator, Page, TimeoutError, sync_playwright

from fashion_tuning.report.description import VIEW
from fashion_tuning.tracking.views import view_link

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# As root, without a screen, and without a word to anybody outside.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# MLflow opens another product's pages first where these are not set.
SETTINGS = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.assistant.panelOpen_v1": "false",
}
WAIT = 60_000  # milliseconds
ATTEMPTS = 3


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


def new_page(browser: Browser, *, width: int = 1600, height: int = 1000) -> Page:
    """A page with MLflow's settings made."""
    context = browser.new_context(viewport={"width": width, "height": height})
    lines = [f"localStorage.setItem({json.dumps(name)}, {json.dumps(value)});" for name, value in SETTINGS.items()]
    context.add_init_script("\n".join(lines))
    page = context.new_page()
    page.set_default_timeout(WAIT)
    return page


class Ui:
    """MLflow's pages of one experiment."""

    def __init__(self, page: Page, address: str, experiment: str) -> None:
        self.page = page
        self._address = address
        client = MlflowClient(address)
        found = client.get_experiment_by_name(experiment)
        assert found is not None, experiment
        self.experiment_id = found.experiment_id
        self._runs = client.search_runs([self.experiment_id], max_results=1000)

    def run_ids(self, kind: str) -> list[str]:
        """Ids of the finished runs of a kind."""
        return [
            run.info.run_id
            for run in self._runs
            if run.data.tags.get("fashion.kind") == kind
            and "fashion.stage" not in run.data.tags
            and run.info.status == "FINISHED"
        ]

    def runs(self) -> None:
        """The table of runs as it opens, the study's row unfolded by a click."""
        self._open(f"#/experiments/{self.experiment_id}/runs")
        row = self.page.locator("[role=row]", has_text="study ").first
        row.wait_for()
        row.get_by_role("button").first.click()
        self.page.get_by_text("trial 01 ·").first.wait_for()

    def best_first(self) -> None:
        """The saved view of the newest study's trials."""
        self._open(view_link(self.experiment_id, VIEW))
        self.page.get_by_text("matching runs").wait_for()
        self.page.get_by_text("trial 01 ·").first.wait_for()

    def charts(self) -> None:
        """The same view as charts."""
        self._open(f"{view_link(self.experiment_id, VIEW)}&compareRunsMode=CHART")
        self.page.locator(".js-plotly-plot .scatterlayer .js-line").first.wait_for()

    def compare(self, run_ids: Sequence[str], metric: str) -> None:
        """Runs side by side; parallel coordinates are the first tab, and the metric is chosen as a person does."""
        self._open(f"#/compare-runs?runs={json.dumps(list(run_ids))}&experiments={json.dumps([self.experiment_id])}")
        self.page.locator(".js-plotly-plot").first.wait_for()
        chooser = self.page.locator("//*[text()='Metrics:']/following-sibling::*[1]")
        chooser.click()
        self.page.keyboard.type(metric)
        self.page.keyboard.press("Enter")
        self.page.keyboard.press("Escape")
        chosen = chooser.locator("[class$=selection-item]")
        chosen.filter(has_text="seed_1/loss").locator("[class*=item-remove]").click()
        chosen.filter(has_text=metric).wait_for()

    def picture(self, run_id: str, *path: str) -> Locator:
        """An artifact of a run that is a picture, by the names in its tree; opened again where a click was lost."""
        image = self.page.locator(f"img[src^='blob:'], img[src*='{path[-1]}'], .image-outer-container img").first
        for _ in range(ATTEMPTS):
            self._open(f"#/experiments/{self.experiment_id}/runs/{run_id}/artifacts")
            for name in path:
                self.page.get_by_text(name, exact=True).first.click()
            with suppress(TimeoutError):
                image.wait_for(timeout=WAIT / ATTEMPTS)
                break
        image.wait_for()
        return image

    def run(self, run_id: str) -> None:
        """A run's own page."""
        self._open(f"#/experiments/{self.experiment_id}/runs/{run_id}")
        self.page.get_by_text("About this run").wait_for()

    def _open(self, place: str) -> None:
        self.page.goto("about:blank")  # another fragment alone would not load anything
        self.page.goto(f"{self._address}/{place}")


def take_screenshots(address: str, experiment: str, folder: Path) -> None:
    """The pictures of the README."""
    with chromium() as browser:
        ui = Ui(new_page(browser, width=1400, height=860), address, experiment)
        ui.best_first()
        _picture(ui.page, folder / "ui-trials.png")
        ui.charts()
        _picture(ui.page, folder / "ui-charts.png")
        ui.compare(ui.run_ids("trial"), "best_val_accuracy")
        _picture(ui.page, folder / "ui-compare.png")


def _picture(page: Page, path: Path) -> None:
    page.wait_for_timeout(3000)  # charts are drawn bit by bit
    page.screenshot(path=path)


if __name__ == "__main__":
    take_screenshots(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
