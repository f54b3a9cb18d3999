"""The page as a file: nothing outside of it, one name per thing, said in words as well, and small."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from synthetic import draw_values, make_material, make_trials

from fashion_tuning.report.drawing import as_png, as_svg, standalone
from fashion_tuning.report.material import Material
from fashion_tuning.report.page import render
from fashion_tuning.report.section import Section, Table
from fashion_tuning.report.sections import make_sections


class Page(HTMLParser):
    """Collects ids, links, references and the open elements of a page."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.figures: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "aria-labelledby"):
                self.references.append(value or "")
        if tag == "figure":
            self.figures.append(dict(attrs))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page_of(material: Material) -> tuple[str, list[Section]]:
    sections = make_sections(material)
    figures = {one.name: as_svg(one.figure, one.name) for one in sections if one.figure}
    return render(sections, figures, title="synthetic", lead=["a study"], drawn=False), sections


@pytest.fixture(scope="module")
def material() -> Material:
    values = draw_values(20, seed=1)
    scores = np.random.default_rng(1).normal(0.8, 0.02, 20).tolist()
    return make_material(make_trials(values, scores), num_failed=2)


@pytest.fixture(scope="module")
def made(material: Material) -> tuple[str, list[Section]]:
    return page_of(material)


def test_it_asks_for_nothing_outside_and_runs_no_script(made: tuple[str, list[Section]]) -> None:
    text, _ = made
    page = Page(text)
    assert "script" not in page.tags
    assert all(one.startswith(("#", "data:image/png;")) or one in page.ids for one in page.references)
    for address in re.findall(r"https?://[^\"' <]+", text):
        assert address in ("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"), address
    assert not re.search(r"@import|url\((?!#)", text)


def test_every_id_is_there_once_and_every_reference_leads_somewhere(made: tuple[str, list[Section]]) -> None:
    text, _ = made
    page = Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    inside = [one for one in page.references if not one.startswith("data:")]
    targets = [one.removeprefix("#") for one in inside] + re.findall(r"url\(#([^)]+)\)", text)
    assert set(targets) <= set(page.ids)


def test_figures_are_said_in_words_and_follow_the_page_colours(made: tuple[str, list[Section]]) -> None:
    text, sections = made
    page = Page(text)
    drawn = [one for one in sections if one.figure]
    assert [one["aria-label"] for one in page.figures] == [
        f"{one.title}. {' '.join(one.readings)} ({one.basis})" for one in drawn
    ]
    assert {one["role"] for one in page.figures} == {"img"}
    assert "prefers-color-scheme: dark" in text
    assert "currentColor" in text
    assert '<html lang="en">' in text
    assert 'name="viewport"' in text
    assert page.tags.count("h1") == 1
    assert page.tags.count("h2") == len(sections)


def test_every_figure_says_how_many_and_in_which_units(made: tuple[str, list[Section]]) -> None:
    _, sections = made
    for one in sections:
        if not one.figure:
            continue
        said = " ".join("".join(ElementTree.fromstring(as_svg(one.figure, one.name)).itertext()).split())
        assert all(word in said for word in one.basis.split()), one.name
        assert "n = 20 trials" in one.basis or "2 seeds" in one.basis, one.name
        assert "share" in one.basis, one.name
        if one.name in ("history", "slices", "cost", "contours", "parallel"):
            assert "341 validation photos" in one.basis


def test_the_parts_of_a_study_with_failures(material: Material, made: tuple[str, list[Section]]) -> None:
    text, sections = made
    names = [one.name for one in sections]
    assert names == [
        "leaderboard", "history", "importance", "parallel", "slices", "contours", "curves", "gap", "cost", "seeds",
        "failures", "measured",
    ]  # fmt: skip
    (failures,) = (one for one in sections if one.name == "failures")
    assert failures.readings == ("2 trials failed: diverged.",)
    assert "loss is NaN in epoch 2" in text
    (board,) = (one for one in sections if one.name == "leaderboard")
    assert board.table is not None
    assert [row[1][:2] for row in board.table.rows] == [f"{trial.number:02d}" for trial in material.ranked]
    assert "0123456789abcdef" in text


def test_what_a_study_says_is_escaped() -> None:
    section = Section("x", "<b>", ("a & b <script>",), table=Table(("<i>",), (("<script>alert(1)</script>",),)))
    text = render([section], {}, title="</title><script>", lead=["<img src=x>"], drawn=True)
    assert "<script" not in text
    assert "<img" not in text
    assert "Drawn garments, not photos" in text


def test_figures_as_files(made: tuple[str, list[Section]]) -> None:
    _, sections = made
    for one in sections:
        if one.figure:
            root = ElementTree.fromstring(standalone(as_svg(one.figure, one.name)))
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            assert as_png(one.figure).startswith(b"\x89PNG")


def test_a_study_of_one_trial_and_a_list_have_a_page() -> None:
    trials = make_trials(draw_values(1), [0.8])
    text, sections = page_of(make_material(trials))
    assert "importance" in [one.name for one in sections]
    assert "parallel" not in [one.name for one in sections]
    assert "The only completed trial scored 0.8000" in text
    assert "There is no other trial that might tie with it." in text
    assert "every paired difference" not in text


@pytest.mark.slow
def test_three_hundred_trials_stay_below_ten_megabytes() -> None:
    values = draw_values(300, seed=3)
    scores = np.random.default_rng(4).normal(0.8, 0.02, 300).tolist()
    text, _ = page_of(make_material(make_trials(values, scores)))
    assert len(text.encode()) < 10e6
