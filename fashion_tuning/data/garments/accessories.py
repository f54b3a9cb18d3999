"""Accessories: hats and shoes.

Every garment is a function of a random generator that returns its parts from back to front.
"""

import numpy as np

from fashion_tuning.data.garments.outline import Part, box, ellipse, line, rounded

Random = np.random.Generator


def hat(random: Random) -> list[Part]:
    """A cap from the side or the front, a beanie, a brimmed hat, a bucket hat, or a sun hat from above."""
    return [_side_cap, _front_cap, _beanie, _brimmed, _bucket, _from_above][random.integers(6)](random)


def _dome(*, half: float, tall: float, flat: float = 1.0) -> np.ndarray:
    """The upper half of an ellipse standing on height 0, its top pressed down by `flat` in (0, 1]."""
    outline = ellipse((0, 0), (half, tall), start=np.pi, stop=2 * np.pi)
    return np.stack([outline[:, 0], np.maximum(outline[:, 1], -tall * flat)], axis=1)


def _side_cap(random: Random) -> list[Part]:
    tall, reach = random.uniform(0.4, 0.62), random.uniform(0.35, 0.6)
    slope = random.uniform(0.02, 0.18)
    visor = [(0.3, -0.06), (0.5, -0.08), (0.5 + reach, slope), (0.48 + reach, slope + 0.06), (0.3, 0.05)]
    side = random.choice([-1, 1])
    parts = [Part(_dome(half=0.5, tall=tall), "cloth")]
    for share in (-0.35, 0.2):
        parts.append(Part(line((share * 0.9, 0), (share * 0.7, -tall * 0.6), (0, -tall)), "seam"))
    parts.append(Part(rounded(visor), "trim" if random.random() < 0.4 else "cloth"))
    parts.append(Part(ellipse((0, -tall), (0.035, 0.025)), "trim"))
    if random.random() < 0.4:
        parts.append(Part(ellipse((0.28, -tall * 0.45), (0.1, 0.1)), "trim"))
    return [Part(part.outline * (side, 1), part.role) for part in parts]


def _front_cap(random: Random) -> list[Part]:
    tall, low = random.uniform(0.45, 0.65), random.uniform(0.14, 0.32)
    visor = [(-0.5, -0.06), (-0.3, -0.12), (0.3, -0.12), (0.5, -0.06), (0.45, low), (0, low + 0.1), (-0.45, low)]
    parts = [Part(_dome(half=0.5, tall=tall, flat=random.uniform(0.85, 1)), "cloth")]
    for bend in (-0.18, 0.0, 0.18):
        parts.append(Part(line((bend, -0.1), (bend * 0.9, -tall * 0.6), (0, -tall)), "seam"))
    if random.random() < 0.5:
        parts.append(Part(ellipse((0, -tall * 0.5), (random.uniform(0.08, 0.18), 0.1)), "trim"))
    parts.append(Part(rounded(visor), "trim" if random.random() < 0.4 else "cloth"))
    return parts


def _beanie(random: Random) -> list[Part]:
    tall, cuff = random.uniform(0.5, 0.85), random.uniform(0.14, 0.28)
    parts = [Part(_dome(half=0.48, tall=tall), "cloth")]
    if random.random() < 0.45:
        size = random.uniform(0.1, 0.18)
        parts.insert(0, Part(ellipse((0, -tall - size * 0.5), (size, size)), "trim"))
    for share in np.linspace(-0.85, 0.85, random.integers(4, 14)):
        parts.append(Part(line((share * 0.48, 0), (share * 0.4, -tall * 0.55), (share * 0.12, -tall * 0.95)), "seam"))
    parts.append(Part(rounded(box(-0.52, -cuff, 0.52, 0.05), rounds=1), "trim" if random.random() < 0.3 else "cloth"))
    return parts


def _brimmed(random: Random) -> list[Part]:
    half, tall = random.uniform(0.36, 0.46), random.uniform(0.38, 0.6)
    brim = (random.uniform(0.7, 1.05), random.uniform(0.09, 0.26))
    crown = [
        (-half, 0),
        (-half * 0.85, -tall),
        (0, -tall * random.uniform(0.8, 1.05)),
        (half * 0.85, -tall),
        (half, 0),
        (0, 0.07),
    ]
    band = [(-half, 0), (-half * 0.96, -0.12), (0, -0.06), (half * 0.96, -0.12), (half, 0), (0, 0.07)]
    parts = [Part(ellipse((0, 0), brim), "cloth"), Part(rounded(crown), "cloth")]
    if random.random() < 0.75:
        parts.append(Part(np.array(band), "trim"))
    return parts


def _bucket(random: Random) -> list[Part]:
    half, tall, low = random.uniform(0.34, 0.42), random.uniform(0.35, 0.5), random.uniform(0.2, 0.34)
    wide = half + random.uniform(0.16, 0.34)
    crown = [(-half, 0), (-half * 0.85, -tall), (half * 0.85, -tall), (half, 0), (0, 0.06)]
    brim = [(-half, 0), (0, 0.05), (half, 0), (wide, low), (0, low + 0.13), (-wide, low)]
    parts = [Part(rounded(crown, rounds=1), "cloth"), Part(rounded(brim, rounds=1), "cloth")]
    for share in np.arange(0.3, 1, 0.25) if random.random() < 0.5 else ():
        reach = half + (wide - half) * share
        parts.append(Part(line((-reach, low * share), (0, low * share + 0.1), (reach, low * share)), "seam"))
    return parts


def _from_above(random: Random) -> list[Part]:
    brim = random.uniform(0.7, 0.95)
    squash = random.uniform(0.7, 1.0)
    middle = (random.uniform(-0.06, 0.06), random.uniform(-0.12, 0.02))
    crown = random.uniform(0.36, 0.46)
    parts = [Part(ellipse((0, 0), (brim, brim * squash)), "cloth")]
    if random.random() < 0.7:
        parts.append(Part(ellipse(middle, (crown * 1.12, crown * 1.1 * squash)), "trim"))
    parts.append(Part(ellipse(middle, (crown, crown * squash)), "cloth"))
    if random.random() < 0.6:
        parts.append(Part(line((middle[0], middle[1] - crown * 0.5), (middle[0], middle[1] + crown * 0.5)), "seam"))
    return parts


def shoes(random: Random) -> list[Part]:
    """A sneaker, boot, heel, sandal or loafer from the side or from above; most often a pair."""
    kind = [_sneaker, _boot, _heel, _loafer_above, _sandal_above, _sneaker_above][random.integers(6)]
    state = random.integers(2**32)
    first, second = (kind(np.random.default_rng(state)) for _ in range(2))
    if random.random() < 0.2:
        return first
    if kind in (_loafer_above, _sandal_above, _sneaker_above):
        shift, mirror = (random.uniform(0.55, 0.8), random.normal(0, 0.1)), -1
    else:
        shift, mirror = (random.uniform(0.1, 0.45), random.uniform(0.2, 0.6)), 1
    return [*first, *(Part(part.outline * (mirror, 1) + shift, part.role) for part in second)]


def _sneaker(random: Random) -> list[Part]:
    ankle, sole = random.uniform(0.36, 0.62), random.uniform(0.07, 0.15)
    upper = [
        (-0.68, 0),
        (-0.66, -ankle),
        (-0.55, -ankle - 0.05),
        (-0.22, -ankle + 0.02),
        (0.2, -0.24),
        (0.55, -0.2),
        (0.7, 0),
    ]
    base = [(-0.72, -0.02), (0.74, -0.02), (0.76, sole * 0.6), (0.68, sole), (-0.7, sole)]
    parts = [Part(rounded(upper), "cloth"), Part(rounded(base, rounds=1), "trim")]
    for step in range(random.integers(3, 6)):
        left, top = -0.2 + step * 0.1, -ankle + 0.08 + step * 0.05
        parts.append(Part(line((left, top), (left + 0.12, top + 0.1)), "seam"))
    decoration = random.random()
    if decoration < 0.4:
        parts.append(Part(np.array([(-0.3, -0.06), (-0.2, -0.2), (0.0, -0.28), (-0.05, -0.16)]), "trim"))
    elif decoration < 0.7:
        parts.append(Part(rounded([(0.42, -0.02), (0.46, -0.2), (0.6, -0.18), (0.7, -0.02)]), "trim"))
    parts.append(Part(ellipse((-0.42, -ankle), (0.2, 0.06)), "inside"))
    return parts


def _boot(random: Random) -> list[Part]:
    shaft, heel = random.uniform(0.7, 1.5), random.uniform(0.05, 0.2)
    wide = random.uniform(0.02, 0.14)
    upper = [
        (-0.5, 0),
        (-0.46, -0.3),
        (-0.5 - wide, -shaft),
        (-0.5 - wide, -shaft),
        (-0.02 + wide, -shaft),
        (-0.02 + wide, -shaft),
    ]
    upper += [(-0.05, -0.38), (0.3, -0.26), (0.55, -0.14), (0.55, 0), (0.55, 0)]
    base = [(-0.52, -0.02), (0.58, -0.02), (0.58, 0.06), (-0.1, 0.06), (-0.16, heel + 0.04), (-0.52, heel + 0.04)]
    parts = [Part(rounded(upper), "cloth"), Part(np.array(base), "trim")]
    if random.random() < 0.5:
        for height in np.linspace(-0.4, -shaft * 0.9, random.integers(4, 8)):
            parts.append(Part(line((-0.18, height + 0.04), (-0.02, height)), "seam"))
    else:
        parts.append(Part(line((-0.3, -0.1), (-0.26, -shaft)), "seam"))
    parts.append(Part(ellipse((-0.26, -shaft), (0.24 + wide, 0.05)), "inside"))
    return parts


def _heel(random: Random) -> list[Part]:
    height, thick = random.uniform(0.25, 0.5), random.uniform(0.03, 0.12)
    upper = [
        (-0.62, -height),
        (-0.6, -height - 0.26),
        (-0.45, -height - 0.2),
        (0.0, -height * 0.45 - 0.06),
        (0.4, -0.2),
        (0.75, 0.0),
    ]
    upper += [(0.7, 0.03), (0.25, 0.02), (-0.3, -height + 0.1)]
    stiletto = [(-0.62, -height), (-0.62 + thick * 2.2, -height), (-0.56 + thick, 0.05), (-0.58, 0.05)]
    parts = [Part(np.array(stiletto), "trim"), Part(rounded(upper), "cloth")]
    parts.append(
        Part(
            rounded([(-0.55, -height - 0.16), (0.0, -height * 0.4 - 0.1), (0.36, -0.16), (-0.2, -height * 0.6)]),
            "inside",
        )
    )
    if random.random() < 0.4:
        parts.append(Part(line((-0.58, -height - 0.24), (-0.3, -height - 0.36), (-0.12, -height * 0.6)), "seam"))
    return parts


def _last(*, half: float, tall: float, toe: float) -> np.ndarray:
    """The outline of a right shoe seen from above, its toe upwards."""
    inner = [(-half * 0.7, tall), (-half * 0.7, 0.1), (-half * 0.95, -tall * 0.5), (-half * toe, -tall)]
    outer = [(half * toe * 0.7, -tall), (half * 1.05, -tall * 0.45), (half * 0.75, 0.15), (half * 0.7, tall)]
    return rounded([*inner, *outer])


def _loafer_above(random: Random) -> list[Part]:
    half, tall = random.uniform(0.24, 0.31), random.uniform(0.62, 0.78)
    toe = random.uniform(0.3, 0.8)
    parts = [
        Part(_last(half=half, tall=tall, toe=toe) * 1.06, "trim"),
        Part(_last(half=half, tall=tall, toe=toe), "cloth"),
    ]
    parts.append(Part(ellipse((0, tall * 0.35), (half * 0.55, tall * 0.5)), "inside"))
    if random.random() < 0.6:
        height = -tall * random.uniform(0.15, 0.3)
        parts.append(Part(box(-half * 0.85, height, half * 0.9, height + 0.1), "trim"))
    return parts


def _sandal_above(random: Random) -> list[Part]:
    half, tall = random.uniform(0.24, 0.31), random.uniform(0.65, 0.78)
    parts = [
        Part(_last(half=half, tall=tall, toe=0.75), "trim"),
        Part(_last(half=half, tall=tall, toe=0.75) * 0.9, "inside"),
    ]
    if random.random() < 0.5:
        toe = (-half * 0.2, -tall * 0.6)
        for end in (-half * 0.95, half * 0.95):
            wide = 0.07
            parts.append(Part(np.array([toe, (end, 0.0), (end, wide * 1.6), (toe[0], toe[1] + wide)]), "cloth"))
        return parts
    for height in np.linspace(-tall * 0.55, tall * 0.5, random.integers(2, 5)):
        strap = [(-half, height), (half, height + 0.06), (half, height + 0.18), (-half, height + 0.12)]
        parts.append(Part(np.array(strap), "cloth"))
    return parts


def _sneaker_above(random: Random) -> list[Part]:
    half, tall = random.uniform(0.25, 0.32), random.uniform(0.64, 0.78)
    parts = [
        Part(_last(half=half, tall=tall, toe=0.7) * 1.1, "trim"),
        Part(_last(half=half, tall=tall, toe=0.7), "cloth"),
    ]
    parts.append(Part(rounded(box(-half * 0.4, -tall * 0.35, half * 0.4, tall * 0.4)), "inside"))
    for height in np.linspace(-tall * 0.35, tall * 0.15, random.integers(3, 6)):
        parts.append(Part(line((-half * 0.45, height), (half * 0.45, height + random.uniform(-0.03, 0.03))), "seam"))
    parts.append(Part(ellipse((0, tall * 0.55), (half * 0.5, tall * 0.3)), "inside"))
    return parts
