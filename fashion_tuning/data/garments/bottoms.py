"""Bottoms: pants, shorts and skirts, from the waistband down.

Every garment is a function of a random generator that returns its parts from back to front.
"""

import numpy as np

from fashion_tuning.data.garments.outline import Part, ellipse, line, mirrored, rounded

Random = np.random.Generator


def _waistband(random: Random, *, half: float) -> list[Part]:
    """A band above height 0, sometimes with a button, belt loops or a drawstring."""
    tall = random.uniform(0.06, 0.13)
    rise = random.uniform(-0.02, 0.04)
    band = np.array([(-half, -tall), (0, -tall + rise), (half, -tall), (half + 0.01, 0), (0, rise), (-half - 0.01, 0)])
    back = [(-half, -tall), (0, -tall - rise), (half, -tall), (half, 0), (-half, 0)]
    parts = [Part(np.array(back), "inside"), Part(band, "trim" if random.random() < 0.25 else "cloth")]
    detail = random.random()
    if detail < 0.3:
        parts.append(Part(ellipse((0.01, -tall / 2), (0.02, 0.02)), "trim"))
    elif detail < 0.5:
        for share in (-0.75, -0.35, 0.35, 0.75):
            parts.append(Part(line((share * half, -tall), (share * half, 0.02)), "seam"))
    elif detail < 0.7:
        for side in (-1, 1):
            drop = random.uniform(0.15, 0.3)
            parts.append(Part(line((side * 0.02, -tall / 2), (side * 0.05, drop * 0.5), (side * 0.03, drop)), "seam"))
    return parts


def _trousers(random: Random, *, length: float, knee: float, hem: float) -> list[Part]:
    """Two legs below a waistband; `knee` and `hem` are half widths of a leg, `length` counts from the waistband."""
    waist, hip = random.uniform(0.32, 0.42), random.uniform(0.4, 0.48)
    crotch = random.uniform(0.5, 0.66)
    spread = random.uniform(-0.02, 0.2)
    half_leg = hip / 2
    spread = max(spread, hem - half_leg + random.uniform(0.02, 0.14))  # or the legs hide their gap
    knee_height = crotch + (length - crotch) * 0.45
    profile = length > 1.3 and random.random() < 0.15
    parts: list[Part] = []
    for side in (-1, 1):
        turn = spread + random.normal(0, 0.04)
        knee_middle = half_leg + turn * 0.5
        hem_middle = half_leg + turn + random.normal(0, 0.02)
        tilt = random.uniform(-0.03, 0.03)
        leg = np.array(
            [
                *((0, 0), (0, 0), (waist, 0), (waist, 0), (hip, 0.33)),
                (knee_middle + knee, knee_height),
                *((hem_middle + hem, length + tilt), (hem_middle + hem, length + tilt)),
                *((hem_middle - hem, length), (hem_middle - hem, length)),
                (knee_middle - knee, knee_height),
                *((0.0, crotch), (0.0, crotch)),
            ]
        )
        leg = rounded(leg, rounds=1)
        if profile:  # folded in half, one leg on the other
            leg = leg + side * np.array((0.04, 0.02))
            parts.append(Part(leg, "cloth"))
            continue
        parts.append(Part(leg * (side, 1), "cloth"))
        if random.random() < 0.3:
            crease = line((knee_middle, crotch * 0.6), (knee_middle, knee_height), (hem_middle, length))
            parts.append(Part(crease * (side, 1), "seam"))
        if random.random() < 0.3:
            cuff = length - random.uniform(0.04, 0.1)
            parts.append(Part(line((hem_middle - hem, cuff), (hem_middle + hem, cuff)) * (side, 1), "seam"))
        if random.random() < 0.6:
            reach = random.uniform(0.15, 0.3)
            parts.append(Part(line((waist * 0.6, 0.0), (waist * 0.75, reach * 0.7), (hip, reach)) * (side, 1), "seam"))
    if profile:
        return parts
    if random.random() < 0.7:
        parts.append(Part(line((0, 0), (0, crotch)), "seam"))
        if random.random() < 0.6:
            parts.append(Part(line((0.07, 0), (0.07, crotch * 0.5), (0, crotch * 0.65)), "seam"))
    if random.random() < 0.2:
        height, wide = length * random.uniform(0.5, 0.65), half_leg * 0.35
        for side in (-1, 1):
            middle = side * (half_leg + spread * 0.5)
            pocket = [
                (middle - wide, height),
                (middle + wide, height),
                (middle + wide, height + 0.2),
                (middle - wide, height + 0.2),
            ]
            parts.append(Part(line(*pocket, pocket[0]), "seam"))
    return [*parts, *_waistband(random, half=waist)]


def pants(random: Random) -> list[Part]:
    """Skinny, straight, wide, flared or tapered legs down to the ankle, or a little above it."""
    knee, hem = [(0.15, 0.09), (0.18, 0.17), (0.23, 0.26), (0.14, 0.24), (0.22, 0.11)][random.integers(5)]
    length = random.uniform(1.75, 2.25) if random.random() < 0.85 else random.uniform(1.4, 1.75)
    grow = random.uniform(0.88, 1.12)
    return _trousers(random, length=length, knee=knee * grow, hem=hem * grow)


def shorts(random: Random) -> list[Part]:
    """Legs that end above the knee or, for one in six, just below it."""
    length = random.uniform(0.7, 1.15) if random.random() < 0.85 else random.uniform(1.15, 1.4)
    knee = random.uniform(0.19, 0.26)
    return _trousers(random, length=length, knee=knee, hem=knee * random.uniform(0.9, 1.25))


def skirt(random: Random) -> list[Part]:
    """Pencil, A-line, flared, pleated or tiered, from mini to maxi."""
    waist = random.uniform(0.28, 0.4)
    length = random.choice([random.uniform(0.6, 1.0), random.uniform(1.0, 1.8)])
    hip = waist * random.uniform(1.1, 1.35)
    hem = hip * random.choice([random.uniform(0.8, 1.05), random.uniform(1.1, 1.5), random.uniform(1.5, 2.2)])
    sag = random.uniform(-0.03, 0.16)
    right = [(0, 0), (waist, 0), (waist, 0), (hip, 0.35 * min(length, 1.0)), (hem, length), (hem, length)]
    right += [(hem * 0.6, length + sag * 0.7), (hem * 0.2, length + sag)]
    parts = [Part(rounded(mirrored(right), rounds=1), "cloth")]
    style = random.random()
    if style < 0.5:
        pleats = random.integers(4, 18) if style < 0.3 else random.integers(2, 6)
        for share in np.linspace(-0.92, 0.92, pleats) + random.normal(0, 0.02, pleats):
            end = length + sag * (1 - abs(share)) - (0 if style < 0.3 else random.uniform(0, 0.4) * length)
            parts.append(Part(line((share * waist, 0), (share * hip, 0.35 * length), (share * hem, end)), "seam"))
    elif style < 0.65:
        for height in np.linspace(0.35, 0.8, random.integers(1, 4)) * length:
            wide = float(np.interp(height, (0, 0.35, length), (waist, hip, hem)))
            parts.append(Part(line((-wide, height), (0, height + sag), (wide, height)), "seam"))
    elif style < 0.75:
        slit = hem * random.choice([-1, 1]) * random.uniform(0.3, 0.7)
        top = length * random.uniform(0.6, 0.85)
        parts.append(
            Part(
                np.array([(slit, top), (slit + 0.03, length + sag * 0.7), (slit - 0.03, length + sag * 0.7)]), "inside"
            )
        )
    elif style < 0.9:
        for height in np.arange(0.1, length, random.uniform(0.13, 0.22)):
            parts.append(Part(ellipse((0.02, height), (0.018, 0.018)), "trim"))
        parts.append(Part(line((0.06, 0), (0.06, length + sag)), "seam"))
    return [*parts, *_waistband(random, half=waist)]
