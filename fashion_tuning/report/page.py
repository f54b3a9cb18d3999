"""One self-contained HTML page: no script, no request, figures inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from fashion_tuning.report.section import Section, Table


@dataclass(frozen=True)
class _Part:
    """A section as the template takes it."""

    name: str
    title: str
    readings: tuple[str, ...]
    basis: str
    svg: Markup | None
    table: Table | None


def render(
    sections: Sequence[Section], figures: Mapping[str, str], *, title: str, lead: Sequence[str], drawn: bool
) -> str:
    """The page as text.

    Args:
      figures: <svg> elements by the name of their section.
      lead: Paragraphs below the title.
      drawn: Whether the study is of drawn garments, which is said at its head.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = environment.from_string(
        resources.files("fashion_tuning.report").joinpath("page.html.jinja").read_text(encoding="utf-8")
    )
    parts = [
        _Part(
            one.name,
            one.title,
            one.readings,
            one.basis,
            Markup(figures[one.name]) if one.name in figures else None,
            one.table,
        )
        for one in sections
    ]
    return template.render(sections=parts, title=title, lead=list(lead), drawn=drawn)
