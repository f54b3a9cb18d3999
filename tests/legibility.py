"""Whether the texts of a figure can be read: measured by Matplotlib's own renderer, not by pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

SLACK = 1.5  # pixels


def faults(figure: Figure) -> list[str]:
    """What can't be read: texts beyond the figure's edges, labels of an axis over each other, texts over texts."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    width, height = figure.bbox.size
    found = []
    shown = [text for text in _texts(figure) if text.get_text().strip()]
    boxes = {text: text.get_window_extent(renderer) for text in shown}
    every, drawn = set(), set()
    for axis in figure.findobj(Axis):
        assert isinstance(axis, Axis)
        every.update(axis.get_ticklabels(which="both"))
        if not axis.axes.axison:
            continue
        own = [tick.label1 for tick in axis._update_ticks() if tick.label1 in boxes]  # type: ignore[attr-defined]
        drawn.update(own)
        for first, second in pairwise(own):
            if _overlap(first, second, renderer):
                found.append(f"one over the other: {first.get_text()!r}, {second.get_text()!r}")
    # Those that lie beyond an axis's ends are there and not drawn.
    boxes = {text: box for text, box in boxes.items() if text in drawn or text not in every}
    for text, box in boxes.items():
        if box.x0 < -SLACK or box.y0 < -SLACK or box.x1 > width + SLACK or box.y1 > height + SLACK:
            found.append(f"beyond the edge: {text.get_text()!r}")
    rest = [text for text in boxes if text not in drawn and text.get_rotation() == 0]
    corners = np.array([boxes[text].extents for text in rest]).reshape(-1, 4)
    for place, text in enumerate(rest):
        over = np.minimum(corners[:, 2:], corners[place, 2:]) - np.maximum(corners[:, :2], corners[place, :2])
        for other in np.flatnonzero((over > SLACK).all(axis=1)):
            if other > place:
                found.append(f"text over text: {text.get_text()!r}, {rest[other].get_text()!r}")
    return found


def _texts(figure: Figure) -> Iterator[Text]:
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if text.get_visible() and (text.axes is None or (text.axes.get_visible() and (
                text.axes.axison or text in text.axes.texts or text is text.axes.title))):  # fmt: skip
            yield text


def _overlap(first: Text, second: Text, renderer: object) -> bool:
    angle = math.radians(first.get_rotation())
    if first.get_rotation() in (0, 90):
        a, b = first.get_window_extent(renderer), second.get_window_extent(renderer)  # type: ignore[arg-type]
        return min(a.x1, b.x1) - max(a.x0, b.x0) > SLACK and min(a.y1, b.y1) - max(a.y0, b.y0) > SLACK
    # Slanted ones lie side by side: what counts is how far apart their lines are.
    places = [text.get_transform().transform(text.get_position()) for text in (first, second)]
    apart = abs((places[1][0] - places[0][0]) * math.sin(angle))
    size = first.get_fontsize() * first.get_figure(root=True).dpi / 72  # type: ignore[union-attr]
    return apart < size - SLACK
