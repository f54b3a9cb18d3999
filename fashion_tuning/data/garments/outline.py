"""Outlines: the painted parts of a drawn garment, and the curves they are cut from.

Outlines are float arrays of shape (n, 2), x to the right and y down, in a
garment's own units: a shoulder is about 0.5 from the middle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Role = Literal["cloth", "inside", "trim", "seam"]


@dataclass(frozen=True)
class Part:
    """One painted piece of a garment; later parts lie over earlier ones.

    Attributes:
      outline: Shape (n, 2). Closed for every role but `seam`, which is an open line.
      role: `cloth` shows the fabric, `inside` the same in shade, `trim` a second colour, `seam` a dark line.
    """

    outline: np.ndarray
    role: Role


def rounded(points: Sequence[tuple[float, float]] | np.ndarray, *, rounds: int = 2) -> np.ndarray:
    """The closed outline with its corners cut `rounds` times (Chaikin 1974); shape (n * 2**rounds, 2)."""
    outline = np.asarray(points, dtype=float)
    for _ in range(rounds):
        following = np.roll(outline, -1, axis=0)
        outline = np.stack([0.75 * outline + 0.25 * following, 0.25 * outline + 0.75 * following], axis=1)
        outline = outline.reshape(-1, 2)
    return outline


def mirrored(points: Sequence[tuple[float, float]] | np.ndarray) -> np.ndarray:
    """The closed outline whose right half, from top to bottom, is `points`."""
    right = np.asarray(points, dtype=float)
    return np.concatenate([right, right[::-1] * (-1, 1)])


def ellipse(
    centre: tuple[float, float], radii: tuple[float, float], *, start: float = 0.0, stop: float = 2 * np.pi
) -> np.ndarray:
    """24 points of an ellipse from angle `start` to `stop`, in radians, clockwise on screen from its right end."""
    angle = np.linspace(start, stop, 24)
    return np.stack([centre[0] + radii[0] * np.cos(angle), centre[1] + radii[1] * np.sin(angle)], axis=1)


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """The four corners of an upright box."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=float)


def line(*points: tuple[float, float]) -> np.ndarray:
    """An open line through `points`."""
    return np.array(points, dtype=float)


def dense(outline: np.ndarray, *, step: float, closed: bool) -> np.ndarray:
    """The same outline with a point at least every `step`, so that it can be bent smoothly."""
    if closed:
        outline = np.concatenate([outline, outline[:1]])
    edges = np.diff(outline, axis=0)
    counts = np.maximum(1, np.ceil(np.hypot(edges[:, 0], edges[:, 1]) / step)).astype(int)
    index = np.repeat(np.arange(len(edges)), counts)
    offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.concatenate([outline[index] + edges[index] * (offset / counts[index])[:, None], outline[-1:]])
