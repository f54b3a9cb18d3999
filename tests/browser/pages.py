"""The MLflow UI as a person uses it, in Debian's Chromium; also takes the screenshots of the README.

python tests/browser/pages.py http://127.0.0.1:5000 EXPERIMENT FOLDER
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlflow.tracking import MlflowClient
from playwright.sync_api import Browser, Page, sync_playwright

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
        """The table of runs, the study's row opened."""
        self._open(f"#/experiments/{self.experiment_id}/runs")
        row = self.page.locator(".ag-row", has_text="study ").first
        row.wait_for()
        toggle = row.locator("button[aria-label*='xpand'], [class*='expander'] button, .ag-cell button").first
        toggle.click()
        self.page.get_by_text("trial 01 ·").first.wait_for()

    def charts(self) -> None:
        """The charts of the experiment's runs."""
        self._open(f"#/experiments/{self.experiment_id}/runs?compareRunsMode=CHART")
        self.page.locator(".js-plotly-plot").first.wait_for()

    def compare(self, run_ids: Sequence[str]) -> None:
        """Runs side by side; parallel coordinates are its first tab."""
        self._open(f"#/compare-runs?runs={json.dumps(list(run_ids))}&experiments={json.dumps([self.experiment_id])}")
        self.page.locator(".js-plotly-plot").first.wait_for()

    def run(self, run_id: str, tab: str = "") -> None:
        """A run's own page, or one of its tabs such as "artifacts"."""
        self._open(f"#/experiments/{self.experiment_id}/runs/{run_id}{f'/{tab}' if tab else ''}")

    def _open(self, place: str) -> None:
        self.page.goto("about:blank")
        self.page.goto(f"{self._address}/{place}")


if __name__ == "__main__":
    address, experiment, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    with chromium() as browser:
        ui = Ui(new_page(browser), address, experiment)
        for name in ("runs", "charts"):
            getattr(ui, name)()
            ui.page.wait_for_timeout(3000)
            ui.page.screenshot(path=folder / f"ui-{name}.png")
