"""The pattern all tops are cut from: body, neck, sleeves, and what is sewn on them."""

from dataclasses import dataclass

import numpy as np

from fashion_tuning.data.garments.outline import Part, Role, box, ellipse, line, mirrored, rounded

Random = np.random.Generator


@dataclass(frozen=True)
class Cut:
    """The measures of a body piece: half widths and heights below the shoulder line."""

    neck: float
    depth: float
    pointed: bool
    shoulder: float
    drop: float
    chest: float
    armpit: float
    waist: float
    waist_height: float
    hem: float
    length: float

    def neckline(self) -> np.ndarray:
        """The right half of the front's edge, from the side of the neck down to the middle; shape (6, 2)."""
        angle = np.linspace(0, np.pi / 2, 6)
        if self.pointed:
            return np.stack([self.neck * (1 - angle / angle[-1]), self.depth * angle / angle[-1]], axis=1)
        return np.stack([self.neck * np.cos(angle), self.depth * np.sin(angle)], axis=1)

    def half_width(self, height: float) -> float:
        """Half the body's width at a height between armpit and hem."""
        heights = (self.armpit, self.waist_height, self.length)
        return float(np.interp(height, heights, (self.chest, self.waist, self.hem)))


def cut_body(random: Random, *, length: float, width: float = 1.0, pointed: bool = False) -> Cut:
    """The measures of a body of a given length, its chest scaled by `width`, with a round or a pointed neck."""
    chest = random.uniform(0.44, 0.55) * width
    return Cut(
        neck=random.uniform(0.13, 0.25),
        depth=random.uniform(0.2, 0.45) if pointed else random.uniform(0.06, 0.18),
        pointed=pointed,
        shoulder=chest * random.uniform(0.86, 1.02),
        drop=random.uniform(0.05, 0.14),
        chest=chest,
        armpit=random.uniform(0.38, 0.5),
        waist=chest * random.uniform(0.84, 1.02),
        waist_height=0.62 * length,
        hem=chest * random.uniform(0.86, 1.12),
        length=length,
    )


def _body(random: Random, cut: Cut) -> list[Part]:
    """The inside of the back at the neck, and the front."""
    sag = random.uniform(-0.03, 0.08)
    sides = [(cut.shoulder, cut.drop), (cut.chest, cut.armpit), (cut.waist, cut.waist_height)]
    hem = [(cut.hem, cut.length), (cut.hem, cut.length), (cut.hem * 0.5, cut.length + sag)]
    front = np.concatenate([cut.neckline()[::-1], [(cut.neck, 0.0)], sides, hem])
    back = [
        (-cut.neck, -0.01),
        (0, -0.04),
        (cut.neck, -0.01),
        (cut.neck * 0.6, cut.depth),
        (-cut.neck * 0.6, cut.depth),
    ]
    return [Part(rounded(back), "inside"), Part(rounded(mirrored(front), rounds=1), "cloth")]


def _sleeve(random: Random, cut: Cut, *, side: int, length: float, spread: float, bend: float) -> list[Part]:
    """A sleeve along an axis that leaves the shoulder at `spread` radians from straight down; `side` is -1 or 1."""
    long = length > 0.6
    wide = min(random.uniform(0.12, 0.19), cut.armpit / 2.2)
    cuff = wide * (random.uniform(0.5, 0.95) if long else random.uniform(0.85, 1.3))
    start = np.array([(cut.shoulder + cut.chest) / 2 - 0.07, (cut.drop + cut.armpit) / 2])
    directions = np.array([(np.sin(angle), np.cos(angle)) for angle in (spread, spread + bend)])
    across = directions[:, ::-1] * (1, -1)
    elbow = start + directions[0] * length / 2
    end = elbow + directions[1] * length / 2
    corners = [end + across[1] * cuff, end - across[1] * cuff]
    outline = np.array(
        [
            (cut.shoulder - 0.12, cut.drop - 0.03),
            (cut.shoulder, cut.drop + 0.01),
            elbow + across.mean(axis=0) * wide,
            *(corners[0], corners[0], corners[1], corners[1]),
            elbow - across.mean(axis=0) * wide,
            (cut.chest - 0.01, cut.armpit + 0.02),
            (cut.chest - 0.14, cut.armpit - 0.04),
        ]
    )
    parts = [Part(rounded(outline) * (side, 1), "cloth")]
    if random.random() < 0.5:
        back = directions[1] * random.uniform(0.04, 0.1)
        band = np.array([corners[0], corners[1], corners[1] - back, corners[0] - back])
        parts.append(Part(band * (side, 1), "trim") if random.random() < 0.4 else Part(band[2:] * (side, 1), "seam"))
    return parts


def _sleeves(random: Random, cut: Cut, *, length: float) -> tuple[list[Part], bool]:
    """Both sleeves, and whether they lie in front of the body."""
    spread, bend = random.uniform(0.15, 1.2), random.uniform(-0.5, 0.3)
    folded = length > 0.6 and random.random() < 0.12
    parts = []
    for side in (-1, 1):
        turn, fold = spread + random.normal(0, 0.12), bend + random.normal(0, 0.15)
        if folded and random.random() < 0.8:
            turn, fold = random.uniform(0.0, 0.25), random.uniform(-2.2, -0.6)
        fold = fold if length > 0.6 else 0.0
        parts += _sleeve(random, cut, side=side, length=length, spread=turn, bend=fold)
    return parts, folded or random.random() < 0.5


def dressed(random: Random, cut: Cut, *, sleeve_length: float) -> list[Part]:
    """Body and sleeves in an order that suits them; no sleeves where `sleeve_length` is 0."""
    body = _body(random, cut)
    if sleeve_length == 0:
        return body
    sleeves, in_front = _sleeves(random, cut, length=sleeve_length)
    return [*body, *sleeves] if in_front else [*sleeves, *body]


def neckband(random: Random, cut: Cut) -> list[Part]:
    """A band along the front's neckline."""
    edge = cut.neckline()
    lower = edge * (1.06, 1) + (0, random.uniform(0.03, 0.06))
    role: Role = "trim" if random.random() < 0.5 else "cloth"
    return [Part(np.concatenate([edge, lower[::-1]]) * (side, 1), role) for side in (-1, 1)]


def collar(random: Random, cut: Cut, role: Role) -> list[Part]:
    """Two collar leaves that meet in the middle."""
    tip = random.uniform(0.06, 0.14)
    low = cut.depth + random.uniform(0.0, 0.06)
    leaf = [
        (cut.neck * 0.8, -0.07),
        (cut.neck + 0.05, 0.03),
        (cut.neck * 0.7, low + tip),
        (0.01, low),
        (cut.neck * 0.6, 0.0),
    ]
    return [Part(np.array(leaf) * (side, 1), role) for side in (-1, 1)]


def buttons(random: Random, *, top: float, bottom: float, offset: float = 0.0) -> list[Part]:
    """A column of buttons between two heights."""
    size = random.uniform(0.016, 0.03)
    heights = np.arange(top, bottom, random.uniform(0.13, 0.24))
    return [Part(ellipse((offset, height), (size, size)), "trim") for height in heights]


def pockets(random: Random, cut: Cut, *, height: float, both: bool) -> list[Part]:
    """Sewn-on pockets at a height: one on the right, or one on both sides."""
    half, tall = random.uniform(0.08, 0.12), random.uniform(0.14, 0.22)
    slant = random.uniform(-0.03, 0.06)
    middle = cut.half_width(height) * 0.52
    corners = line((-half, slant), (half, 0), (half, tall), (-half, tall), (-half, slant))
    pocket = corners + np.array((middle, height))
    return [Part(pocket * (side, 1), "seam") for side in ((-1, 1) if both else (1,))]


def graphic(random: Random, cut: Cut) -> list[Part]:
    """A disc, a blob or lines like lettering on the chest."""
    middle = cut.depth + random.uniform(0.25, 0.4)
    half = cut.chest * random.uniform(0.2, 0.6)
    kind = random.integers(3)
    if kind == 0:
        return [Part(ellipse((0, middle), (half, half * random.uniform(0.6, 1.1))), "trim")]
    if kind == 1:
        corners = ellipse((0, middle), (half, half))[::3] * random.uniform(0.6, 1.2, (8, 1))
        return [Part(rounded(corners - corners.mean(axis=0) + (0, middle)), "trim")]
    rows = range(random.integers(1, 4))
    starts = np.arange(-half, half, 0.06)
    tall = random.uniform(0.04, 0.09)
    return [
        Part(
            box(left, middle + row * 1.5 * tall, left + random.uniform(0.02, 0.05), middle + (row * 1.5 + 1) * tall),
            "trim",
        )
        for row in rows
        for left in starts
    ]


def hem_band(random: Random, cut: Cut) -> list[Part]:
    """The seam of a band at the hem."""
    height = cut.length - random.uniform(0.06, 0.13)
    wide = cut.half_width(height)
    return [Part(line((-wide, height), (0, height + 0.02), (wide, height)), "seam")]
