"""The upload page as a person uses it, in Debian's Chromium; also takes the screenshots of the README.

python tests/browser/upload_page.py http://127.0.0.1:8000 FOLDER PHOTO...
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pages
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page

PHONE = {"width": 360, "height": 740}
DESK = {"width": 1100, "height": 800}
# What WCAG 2.2 AA asks for, as axe-core names it, and its own advice beside.
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


class UploadPage:
    """The page in a browser; what its console and its network had to complain about is kept."""

    def __init__(
        self, browser: Browser, url: str, *, size: dict[str, int] = DESK, scheme: str = "light", touch: bool = False
    ) -> None:
        context = browser.new_context(viewport=size, color_scheme=scheme, has_touch=touch, is_mobile=touch)
        self.page: Page = context.new_page()
        self.page.set_default_timeout(30_000)
        self._scratch = TemporaryDirectory(ignore_cleanup_errors=True)
        self.folder = Path(self._scratch.name)
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url)
        self.page.get_by_text("version", exact=False).first.wait_for()

    def close(self) -> None:
        """Ends the page and removes its files."""
        self.page.context.close()
        self._scratch.cleanup()

    def choose(self, *files: tuple[str, bytes]) -> None:
        """Chooses files with the file chooser."""
        self.page.set_input_files("#files", self.written(*files))

    def written(self, *files: tuple[str, bytes]) -> list[Path]:
        """The files on the disk, where a chooser finds them."""
        for name, data in files:
            (self.folder / name).write_bytes(data)
        return [self.folder / name for name, _ in files]

    def _give(self, event: str, files: tuple[tuple[str, bytes], ...]) -> None:
        encoded = [(name, base64.b64encode(data).decode()) for name, data in files]
        self.page.evaluate(
            """([event, files]) => {
                const transfer = new DataTransfer();
                for (const [name, data] of files) {
                    const bytes = Uint8Array.from(atob(data), one => one.charCodeAt(0));
                    transfer.items.add(new File([bytes], name, {type: "image/png"}));
                }
                const options = {bubbles: true, cancelable: true};
                const given = event === "paste"
                    ? new ClipboardEvent("paste", {...options, clipboardData: transfer})
                    : new DragEvent(event, {...options, dataTransfer: transfer});
                document.getElementById("drop").dispatchEvent(given);
            }""",
            [event, encoded],
        )

    def drop(self, *files: tuple[str, bytes]) -> None:
        """Drags files over the page and lets them go."""
        self._give("dragover", files)
        self._give("drop", files)

    def paste(self, *files: tuple[str, bytes]) -> None:
        """Pastes files."""
        self._give("paste", files)

    def card(self, name: str) -> Locator:
        """The card of a file."""
        return self.page.get_by_role("article", name=name, exact=True)

    def choices(self, name: str) -> Locator:
        """The buttons of a card's categories, once they are there."""
        found = self.card(name).get_by_role("group").get_by_role("button")
        found.first.wait_for()
        return found

    def violations(self) -> list[str]:
        """What axe-core finds wrong on the page as it stands."""
        found = Axe().run(self.page, options=RULES).response["violations"]
        return [f"{one['id']}: {node['html'][:120]}" for one in found for node in one["nodes"]]


def take_screenshots(url: str, folder: Path, photos: list[Path]) -> None:
    """The pictures of the README."""
    files = [(photo.name, photo.read_bytes()) for photo in photos]
    with pages.chromium() as browser:
        for name, settings in (
            ("page", {"size": {"width": 1060, "height": 980}}),
            ("page-phone", {"size": PHONE, "scheme": "dark", "touch": True}),
        ):
            page = UploadPage(browser, url, **settings)  # type: ignore[arg-type]
            chosen = [*files, ("notes.txt", b"no photo")] if name == "page" else files[:1]
            page.choose(*chosen)
            for file, _ in chosen[: len(files)]:
                page.choices(file)
            page.choices(chosen[0][0]).first.click()
            page.page.wait_for_timeout(500)
            page.page.screenshot(path=folder / f"{name}.png", full_page=name == "page")
            page.close()


if __name__ == "__main__":
    take_screenshots(sys.argv[1], Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
