"""The upload page in a real browser on a real server: every way in, every way out, and for everybody."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pages
import pytest
from playwright.sync_api import Browser, Route, expect
from serving import Server, garment, serve
from upload_page import DESK, PHONE, UploadPage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(pages.CHROMIUM is None, reason="needs Chromium: sudo apt-get install chromium"),
]

DRESS, HAT = ("dress.jpg", garment("dress")), ("hat.png", garment("hat", format="PNG"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def server(model: Path, folder: Path) -> Iterator[Server]:
    with serve(folder, "--model", str(model), "--rate", "0", "--feedback", "choices.db") as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with pages.chromium() as browser:
        yield browser


@pytest.fixture
def open_page(server: Server, browser: Browser) -> Iterator[Callable[..., UploadPage]]:
    """A function that opens the page; each must end without a complaint and without a word to anybody else."""
    opened: list[UploadPage] = []

    def make(**settings: object) -> UploadPage:
        opened.append(UploadPage(browser, server.url, **settings))  # type: ignore[arg-type]
        return opened[-1]

    yield make
    for page in opened:
        expected = [one for one in page.complaints if "Failed to load resource" not in one]  # of refused photos
        assert expected == []
        assert [url for url in page.asked if not url.startswith((server.url, "blob:", "data:"))] == []
        page.close()


def test_a_photo_is_chosen_answered_and_accepted(open_page: Callable[..., UploadPage], folder: Path) -> None:
    page = open_page()
    page.choose(DRESS)
    expect(page.card("dress.jpg").get_by_role("img", name="Your photo dress.jpg")).to_be_visible()
    choices = page.choices("dress.jpg")
    expect(choices).to_have_count(10)
    shown = choices.all_inner_texts()
    assert [bool(re.search(r"\d%$", text)) for text in shown] == [True] * 3 + [False] * 7
    choices.nth(0).click()
    expect(choices.nth(0)).to_have_attribute("aria-pressed", "true")
    expect(page.card("dress.jpg")).to_contain_text("Kept.")
    choices.nth(7).click()
    expect(choices.nth(0)).to_have_attribute("aria-pressed", "false")
    category = shown[7]
    expect(page.card("dress.jpg")).to_contain_text(f"Chosen: {category}. Kept.")
    with closing(sqlite3.connect(folder / "choices.db")) as kept:
        (row,) = kept.execute("SELECT category, image FROM feedback").fetchall()
    assert row == (category, None)


def test_a_picture_is_kept_by_consent_alone(open_page: Callable[..., UploadPage], folder: Path) -> None:
    page = open_page()
    consent = page.page.get_by_role("checkbox")
    expect(consent).not_to_be_checked()
    consent.check()
    page.choose(HAT)
    page.choices("hat.png").nth(1).click()
    expect(page.card("hat.png")).to_contain_text("with your photo")
    with closing(sqlite3.connect(folder / "choices.db")) as kept:
        assert kept.execute("SELECT count(*) FROM feedback WHERE image IS NOT NULL").fetchone() == (1,)


def test_dropped_and_pasted(open_page: Callable[..., UploadPage]) -> None:
    page = open_page()
    page.drop(DRESS)
    page.choices("dress.jpg")
    page.paste(HAT)
    page.choices("hat.png")


def test_several_at_once_with_bad_ones_among_them(open_page: Callable[..., UploadPage]) -> None:
    page = open_page()
    good = [(f"photo-{place}.jpg", garment("shoes", place)) for place in range(6)]
    bad = [
        ("notes.jpg", b"no photo"),
        ("empty.jpg", b""),
        ("large.jpg", bytes(11_000_000)),
        ("cut.jpg", DRESS[1][:3000]),
    ]
    page.choose(*good[:3], *bad, *good[3:])
    for name, _ in good:
        expect(page.choices(name)).to_have_count(10)
    expect(page.card("notes.jpg")).to_contain_text("This file is no photo that can be read here.")
    expect(page.card("empty.jpg")).to_contain_text("This file is empty.")
    expect(page.card("large.jpg")).to_contain_text("larger than 10 MB")
    expect(page.card("cut.jpg")).to_contain_text("This photo can't be read.")
    page.page.get_by_role("button", name="Remove notes.jpg").click()
    expect(page.card("notes.jpg")).to_have_count(0)
    expect(page.page.get_by_role("button", name="Remove empty.jpg")).to_be_focused()


def test_one_upload_that_fails_does_no_harm_to_others(open_page: Callable[..., UploadPage]) -> None:
    page = open_page()
    seen: list[int] = []

    def meddle(route: Route) -> None:
        seen.append(len(route.request.post_data_buffer or b""))
        if len(seen) == 1:
            route.abort()
        elif len(seen) == 2:
            route.fulfill(status=503, headers={"retry-after": "1"}, body="<html>a proxy's own page")
        else:
            route.continue_()

    page.page.route("**/v1/predict", meddle)
    page.choose(DRESS, HAT)
    page.choices("dress.jpg")
    page.choices("hat.png")
    assert len(seen) == 4


def test_a_line_that_stays_dead_can_be_tried_again(open_page: Callable[..., UploadPage]) -> None:
    page = open_page()
    page.page.route("**/v1/predict", lambda route: route.fulfill(status=500, body="{}"))
    page.choose(DRESS)
    again = page.card("dress.jpg").get_by_role("button", name="Try again")
    expect(page.card("dress.jpg")).to_contain_text("The server has no answer.")
    page.page.unroute("**/v1/predict")
    again.click()
    page.choices("dress.jpg")


def test_a_slow_line_shows_how_far_it_is(open_page: Callable[..., UploadPage]) -> None:
    page = open_page()
    session = page.page.context.new_cdp_session(page.page)
    slow = {"offline": False, "latency": 50, "downloadThroughput": 100_000, "uploadThroughput": 40_000}
    session.send("Network.emulateNetworkConditions", slow)
    page.choose(("large.png", garment("dress", format="BMP")))  # 360 kB: nine seconds
    expect(page.card("large.png").get_by_role("progressbar")).to_be_visible()
    expect(page.card("large.png").get_by_role("img")).to_be_visible()
    page.choices("large.png")


def test_unsure_answers_are_called_so(open_page: Callable[..., UploadPage], server: Server) -> None:
    page = open_page()
    with server.client() as client:
        # Asked here: the browser does not tell what is in a file that it sends from the disk.
        found = client.post("/v1/predict", content=DRESS[1], headers={"content-type": "image/jpeg"}).json()
    found["results"][0]["unsure"] = True
    page.page.route("**/v1/predict", lambda route: route.fulfill(json=found))
    page.choose(DRESS)
    page.choices("dress.jpg")
    expect(page.card("dress.jpg")).to_contain_text("Not sure about this one, please check.")
    assert page.violations() == []


def test_with_the_keyboard_alone(open_page: Callable[..., UploadPage]) -> None:
    page = open_page()
    keyboard = page.page.keyboard
    keyboard.press("Tab")
    expect(page.page.locator("#files")).to_be_focused()
    assert page.page.locator("label[for=files]").evaluate("label => getComputedStyle(label).outlineStyle") == "solid"
    for key, file in (("Enter", DRESS), ("Space", HAT)):
        with page.page.expect_file_chooser() as chooser:
            keyboard.press(key)
        chooser.value.set_files(page.written(file))
    choices = page.choices("dress.jpg")
    page.choices("hat.png")
    for _ in range(12):
        keyboard.press("Tab")
        if choices.nth(1).evaluate("button => button === document.activeElement"):
            break
    expect(choices.nth(1)).to_be_focused()
    keyboard.press("Space")
    expect(choices.nth(1)).to_have_attribute("aria-pressed", "true")
    page.page.get_by_role("button", name="Remove hat.png").focus()
    keyboard.press("Enter")
    expect(page.card("hat.png")).to_have_count(0)
    expect(page.page.get_by_role("button", name="Remove dress.jpg")).to_be_focused()


def test_a_screen_reader_is_told(open_page: Callable[..., UploadPage]) -> None:
    page = open_page()
    page.choose(DRESS)
    category = page.choices("dress.jpg").nth(0).inner_text().rsplit(" ", 1)[0]
    expect(page.page.locator("#said")).to_have_text(re.compile(rf"^dress\.jpg: .*{category}, \d+%$"))


@pytest.mark.parametrize("size", [PHONE, {"width": 320, "height": 500}, DESK], ids=["phone", "narrow", "desk"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_state(
    open_page: Callable[..., UploadPage], size: dict[str, int], scheme: str
) -> None:
    page = open_page(size=size, scheme=scheme, touch=size == PHONE)
    assert page.violations() == []
    page.choose(DRESS, HAT, ("notes.jpg", b"no photo"))
    page.choices("dress.jpg").nth(0).click()
    page.choices("hat.png")
    expect(page.card("notes.jpg")).to_contain_text("no photo that can be read")
    assert page.violations() == []
    wide = page.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0, "the page scrolls sideways"
    for button in page.page.locator("button:visible, label.pick:visible").all():
        box = button.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 24, "smaller than WCAG 2.2 asks for (2.5.8)"


def test_on_a_phone_there_is_a_camera(open_page: Callable[..., UploadPage]) -> None:
    phone, desk = open_page(size=PHONE, touch=True), open_page()
    expect(phone.page.get_by_text("Take a photo")).to_be_visible()
    expect(desk.page.get_by_text("Take a photo")).to_be_hidden()
    phone.page.set_input_files("#photo", phone.written(("shot.jpg", DRESS[1])))
    phone.choices("shot.jpg").nth(0).tap()
    expect(phone.choices("shot.jpg").nth(0)).to_have_attribute("aria-pressed", "true")


def test_the_pages_of_the_api_are_for_everybody_too(server: Server, browser: Browser) -> None:
    page = UploadPage(browser, f"{server.url}/docs")
    assert page.violations() == []
    assert page.complaints == []
    page.close()
