"""Tops: t-shirts, longsleeves, shirts, outwear and dresses.

Every garment is a function of a random generator that returns its parts from back to front.
"""

from dataclasses import replace

import numpy as np

from fashion_tuning.data.garments.outline import Part, box, ellipse, line
from fashion_tuning.data.garments.pattern import (
    buttons,
    collar,
    cut_body,
    dressed,
    graphic,
    hem_band,
    neckband,
    pockets,
)

Random = np.random.Generator


def t_shirt(random: Random) -> list[Part]:
    """Short sleeves, a round or pointed neck, often a graphic on the chest."""
    cut = cut_body(random, length=random.uniform(1.05, 1.5), pointed=random.random() < 0.3)
    parts = dressed(random, cut, sleeve_length=random.uniform(0.2, 0.5))
    if random.random() < 0.7:
        parts += neckband(random, cut)
    if random.random() < 0.4:
        parts += graphic(random, cut)
    elif random.random() < 0.2:
        parts += buttons(random, top=cut.depth + 0.06, bottom=cut.depth + 0.3)
    if random.random() < 0.15:
        parts += pockets(random, cut, height=random.uniform(0.35, 0.45), both=False)
    return parts


def longsleeve(random: Random) -> list[Part]:
    """A t-shirt or sweater with long sleeves: no collar leaves, no fastening all the way down."""
    cut = cut_body(random, length=random.uniform(1.1, 1.5), pointed=random.random() < 0.2)
    parts = dressed(random, cut, sleeve_length=random.uniform(0.85, 1.25))
    style = random.random()
    if style < 0.2:
        tall = random.uniform(0.08, 0.18)
        parts.append(Part(box(-cut.neck, -tall, cut.neck, cut.depth), "cloth"))
    elif style < 0.7:
        parts += neckband(random, cut)
    elif style < 0.85:
        parts += buttons(random, top=cut.depth + 0.06, bottom=cut.depth + 0.35)
    if random.random() < 0.4:
        parts += hem_band(random, cut)
    if random.random() < 0.25:
        parts += graphic(random, cut)
    return parts


def shirt(random: Random) -> list[Part]:
    """A collar and a placket with buttons; long sleeves twice as often as short ones."""
    cut = cut_body(random, length=random.uniform(1.2, 1.6), pointed=random.random() < 0.5)
    sleeve_length = random.uniform(0.85, 1.2) if random.random() < 0.65 else random.uniform(0.25, 0.5)
    parts = dressed(random, cut, sleeve_length=sleeve_length)
    offset = random.uniform(-0.02, 0.02)
    edge = random.uniform(0.025, 0.045)
    for side in (-edge, edge) if random.random() < 0.6 else (edge,):
        parts.append(Part(line((offset + side, cut.depth), (offset + side, cut.length)), "seam"))
    parts += buttons(random, top=cut.depth + 0.08, bottom=cut.length - 0.05, offset=offset)
    parts += collar(random, cut, "trim" if random.random() < 0.15 else "cloth")
    if random.random() < 0.45:
        parts += pockets(random, cut, height=random.uniform(0.36, 0.46), both=random.random() < 0.35)
    return parts


def outwear(random: Random) -> list[Part]:
    """Jackets, coats, parkas and vests: a zip or buttons or worn open, with lapels, a hood, a collar or none."""
    length = random.choice([random.uniform(1.1, 1.45), random.uniform(1.5, 2.1)])
    cut = cut_body(random, length=length, width=1.08, pointed=True)
    parts = dressed(random, cut, sleeve_length=0 if random.random() < 0.12 else random.uniform(0.95, 1.25))
    hood = random.random() < 0.3
    if hood:
        tall, wide = random.uniform(0.22, 0.36), cut.neck + random.uniform(0.08, 0.16)
        parts.insert(0, Part(ellipse((0, -tall * 0.5 + 0.04), (wide, tall)), "cloth"))
        parts.append(Part(ellipse((0, -tall * 0.4 + 0.06), (wide * 0.7, tall * 0.65)), "inside"))
    fastening = random.random()
    if fastening < 0.3:
        gap = random.uniform(0.06, 0.22)
        lining = [(0, cut.depth * 0.3), (gap * 0.7, cut.depth), (gap, cut.length + 0.02), (-gap, cut.length + 0.02)]
        parts.append(Part(np.array([*lining, (-gap * 0.7, cut.depth)]), "trim" if random.random() < 0.6 else "inside"))
    elif fastening < 0.7:
        half = random.uniform(0.008, 0.02)
        parts.append(Part(box(-half, cut.depth * 0.6, half, cut.length), "trim" if random.random() < 0.5 else "inside"))
    else:
        parts.append(Part(line((0.02, cut.depth), (0.02, cut.length)), "seam"))
        columns = (-0.12, 0.12) if random.random() < 0.35 else (0.0,)
        for column in columns:
            parts += buttons(random, top=cut.depth + 0.1, bottom=cut.length * 0.8, offset=column)
    neck = random.random()
    if neck < 0.45 and not hood:
        wide = cut.neck + random.uniform(0.04, 0.12)
        lapel = [
            (cut.neck * 0.8, -0.06),
            (wide, 0.1),
            (wide * 0.8, 0.2),
            (wide + 0.04, 0.26),
            (0.02, cut.depth + 0.25),
            (0.02, cut.depth),
        ]
        parts += [Part(np.array(lapel) * (side, 1), "cloth") for side in (-1, 1)]
    elif neck < 0.65:
        parts += collar(random, cut, "trim" if random.random() < 0.3 else "cloth")
    if random.random() < 0.65:
        parts += pockets(random, cut, height=cut.length * random.uniform(0.6, 0.72), both=True)
    if random.random() < 0.25:
        heights = np.arange(cut.armpit, cut.length, random.uniform(0.1, 0.2))
        wides = [cut.half_width(height) for height in heights]
        parts += [
            Part(line((-wide, height), (wide, height)), "seam") for wide, height in zip(wides, heights, strict=True)
        ]
    return parts


def dress(random: Random) -> list[Part]:
    """A bodice with a skirt: straps, no sleeves, short or long ones; narrow, straight or wide below."""
    length = random.uniform(1.6, 2.5)
    flare = random.choice([random.uniform(0.85, 1.15), random.uniform(1.2, 2.2)])
    plain = cut_body(random, length=length, width=0.85, pointed=random.random() < 0.35)
    waist_height = random.uniform(0.65, 0.95)
    straps = random.random() < 0.25
    cut = replace(
        plain,
        waist=plain.chest * random.uniform(0.7, 0.95),
        waist_height=waist_height,
        hem=plain.chest * flare,
        shoulder=plain.neck + random.uniform(0.05, 0.1) if straps else plain.shoulder,
        depth=random.uniform(0.25, 0.4) if straps else plain.depth,
    )
    sleeve_lengths = [0.0, random.uniform(0.2, 0.45), random.uniform(0.8, 1.1)]
    sleeve_length = 0.0 if straps else float(random.choice(sleeve_lengths, p=[0.35, 0.4, 0.25]))
    parts = dressed(random, cut, sleeve_length=sleeve_length)
    if random.random() < 0.45:
        tall = random.uniform(0.03, 0.09)
        band = box(-cut.waist, waist_height - tall, cut.waist, waist_height)
        parts.append(Part(band, "trim") if random.random() < 0.5 else Part(band[2:], "seam"))
    if random.random() < 0.6:
        for share in np.linspace(-0.8, 0.8, random.integers(3, 10)) + random.normal(0, 0.04):
            start = waist_height + random.uniform(0.02, 0.3)
            parts.append(
                Part(line((share * cut.waist, start), (share * cut.hem, length - random.uniform(0, 0.3))), "seam")
            )
    if random.random() < 0.15:
        parts += buttons(random, top=cut.depth + 0.08, bottom=length * random.uniform(0.4, 0.95))
    if random.random() < 0.15:
        parts += collar(random, cut, "trim")
    elif random.random() < 0.3:
        parts += neckband(random, cut)
    return parts
