"""The scene of a drawn garment: how it is posed, what it is made of, where it lies, and the camera."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from fashion_tuning.data.garments.outline import Part, dense, ellipse

Random = np.random.Generator
Fabric = Literal["plain", "stripes", "checks", "dots", "flowers", "knit", "denim"]

WIDTH, HEIGHT = 300, 400
_OVERSAMPLING = 2  # outlines are painted this much larger and reduced, for smooth edges
_NEUTRAL = 128  # the tone that leaves a colour as it is

_CAMOUFLAGED = 0.05  # of the plain garments have the colour of what they lie on

_ACROSS, _DOWN = np.meshgrid(np.linspace(-0.75, 0.75, WIDTH), np.linspace(-1, 1, HEIGHT))
_ACROSS, _DOWN = _ACROSS.astype(np.float32), _DOWN.astype(np.float32)


@dataclass(frozen=True)
class Pose:
    """Where a garment lies: pixels = bend(points) @ turn + shift, in painted (oversampled) pixels."""

    turn: np.ndarray
    shift: np.ndarray
    waves: np.ndarray
    keystone: float

    def place(self, outline: np.ndarray) -> np.ndarray:
        """Painted pixels of an outline in garment units; shape (n, 2)."""
        bent = outline + self.waves[0] * np.sin(outline[:, ::-1] * self.waves[1] + self.waves[2])
        bent = bent * np.stack([1 + self.keystone * bent[:, 1], np.ones(len(bent))], axis=1)
        return bent @ self.turn + self.shift

    def lift(self) -> tuple[np.ndarray, np.ndarray]:
        """Garment units, without the bend, of every pixel of the picture: across and down, each (HEIGHT, WIDTH)."""
        inverse = np.linalg.inv(self.turn)
        origin = -self.shift @ inverse
        columns = (np.arange(WIDTH, dtype=np.float32) * _OVERSAMPLING)[None, :]
        rows = (np.arange(HEIGHT, dtype=np.float32) * _OVERSAMPLING)[:, None]
        matrix = inverse.astype(np.float32)
        start = origin.astype(np.float32)
        return (
            columns * matrix[0, 0] + rows * matrix[1, 0] + start[0],
            columns * matrix[0, 1] + rows * matrix[1, 1] + start[1],
        )


def photograph(parts: Sequence[Part], fabric: Fabric, random: Random, *, neighbour: Sequence[Part] = ()) -> Image.Image:
    """A picture of the garment made of `parts`, with a bit of a `neighbour` at the edge; RGB, WIDTH x HEIGHT."""
    scene = _background(random)
    if neighbour:
        pose = _pose(neighbour, random, fill=random.uniform(0.8, 1.4), away=random.uniform(0.75, 1.0))
        scene = _lay(scene, neighbour, "plain", pose, random)
    scene = _clutter(scene, random, pieces=int(random.choice(4, p=[0.75, 0.15, 0.07, 0.03])))
    scene = _lay(scene, parts, fabric, _pose(parts, random, fill=random.uniform(0.84, 1.04), away=0.0), random)
    if random.random() < 0.08:
        scene = _clutter(scene, random, pieces=1)
    return _camera(scene, random)


def _field(random: Random, *, cells: int) -> np.ndarray:
    """Smooth noise with `cells` bumps across, mean about 0 and deviation about 0.6; shape (HEIGHT, WIDTH)."""
    small = random.standard_normal((cells * 4 // 3 + 1, cells), dtype=np.float32)
    return np.asarray(Image.fromarray(small).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def _colour(random: Random) -> np.ndarray:
    """A garment's or an object's colour: often grey, black, white, beige or blue; 0..1, shape (3, 1, 1)."""
    if random.random() < 0.4:
        return _planes(random.uniform(0.06, 0.97) + random.normal(0, 0.02, 3))
    hue, strength, value = random.random(), random.uniform(0.15, 0.85), random.uniform(0.2, 0.95)
    wheel = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return _planes(value * (1 - strength + strength * wheel))


def _planes(colour: np.ndarray) -> np.ndarray:
    """Three numbers as float32 of shape (3, 1, 1): scenes are planes, for numpy is slow along an axis of three."""
    return colour.astype(np.float32)[:, None, None]


def _phase(place: np.ndarray) -> np.ndarray:
    """The fraction of every value, 0..1; twenty times faster than numpy's remainder."""
    return place - np.floor(place)


def _background(random: Random) -> np.ndarray:
    """A wall, planks, tiles, a carpet or a crumpled sheet; shape (3, HEIGHT, WIDTH)."""
    colour = 0.15 * _colour(random) + random.uniform(0.35, 0.8) * _planes(np.array([1.0, 0.97, 0.92]))
    tone = 1 + 0.05 * _field(random, cells=3)
    kind = random.choice(5, p=[0.44, 0.14, 0.14, 0.14, 0.14])
    if kind == 0 and random.random() < 0.6:  # wall and floor
        tone = tone * np.where(random.uniform(0.2, 0.9) > _DOWN + 0.05 * _ACROSS, 1.0, random.uniform(0.5, 0.85))
    elif kind == 1:
        along, width = (_DOWN, _ACROSS) if random.random() < 0.5 else (_ACROSS, _DOWN)
        place = (width + random.normal(0, 0.15) * along) * random.uniform(3, 7)
        shades = random.uniform(0.9, 1.05, 64).astype(np.float32)
        tone = tone * shades[np.floor(place).astype(int) % 64] * np.where(_phase(place) < 0.03, 0.75, 1.0)
        tone = tone * (1 + 0.06 * np.sin(40 * width + 5 * _field(random, cells=4)))
    elif kind == 2:
        size = random.uniform(2, 6)
        turned = random.uniform(-0.5, 0.5)
        lines = (_phase((_ACROSS + turned * _DOWN) * size) < 0.05) | (_phase((_DOWN - turned * _ACROSS) * size) < 0.05)
        tone = tone * np.where(lines, random.uniform(0.7, 1.25), 1.0)
    elif kind == 3:
        tone = tone * (1 + random.uniform(0.03, 0.12) * _field(random, cells=int(random.integers(60, 140))))
    elif kind == 4:
        tone = tone * _creases(random, strength=random.uniform(0.2, 0.7))
    return colour * tone.astype(np.float32)


def _creases(random: Random, *, strength: float) -> np.ndarray:
    """Light on crumpled cloth: a factor around 1; shape (HEIGHT, WIDTH)."""
    height = np.abs(_field(random, cells=3)) + 0.35 * np.abs(_field(random, cells=8))
    down, across = (int(step) for step in random.integers(-4, 5, 2))
    slope = height - _shifted(height, down=down or 2, across=across)
    return np.clip(1 + 1.2 * strength * slope, 0.5, 1.4)


def _shifted(plane: np.ndarray, *, down: int, across: int) -> np.ndarray:
    """The plane moved by whole pixels, its border repeated; shape (HEIGHT, WIDTH)."""
    rows = np.clip(np.arange(HEIGHT) - down, 0, HEIGHT - 1)
    columns = np.clip(np.arange(WIDTH) - across, 0, WIDTH - 1)
    return plane[rows][:, columns]


def _pose(parts: Sequence[Part], random: Random, *, fill: float, away: float) -> Pose:
    """A pose that fits the garment into `fill` of the frame, its middle `away` from the frame's in half frames."""
    points = np.concatenate([part.outline for part in parts])
    low, high = points.min(axis=0), points.max(axis=0)
    middle, size = (low + high) / 2, high - low
    angle = random.normal(0, 0.07) if random.random() < 0.97 else random.uniform(-np.pi, np.pi)
    frame = np.array([WIDTH, HEIGHT], dtype=float) * _OVERSAMPLING
    turned = np.abs([[np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ size
    scale = fill * (frame / turned).min()
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = np.array([[1, random.normal(0, 0.06)], [random.normal(0, 0.06), 1]]) @ matrix
    matrix = matrix * scale * np.array([random.uniform(0.92, 1.08), 1.0])
    if random.random() < 0.5:
        matrix = matrix * [[-1], [1]]
    direction = random.uniform(0, 2 * np.pi)
    target = frame * (0.5 + 0.5 * away * np.array([np.cos(direction), np.sin(direction)]) + random.normal(0, 0.045, 2))
    bend = np.stack([random.uniform(0.0, 0.03, 2) * size.mean() / 2, random.uniform(1, 5, 2), random.uniform(0, 6, 2)])
    return Pose(turn=matrix, shift=target - middle @ matrix, waves=bend, keystone=random.normal(0, 0.05))


def _paint(parts: Sequence[Part], pose: Pose, random: Random) -> tuple[np.ndarray, np.ndarray, np.ndarray, Image.Image]:
    """Cover, share of trim and tone, each 0..1 (tone around 1) of shape (HEIGHT, WIDTH); and the cover as an image."""
    size = (WIDTH * _OVERSAMPLING, HEIGHT * _OVERSAMPLING)
    cover, trim, tone = (Image.new("L", size, value) for value in (0, 0, _NEUTRAL))
    covers, trims, tones = (ImageDraw.Draw(layer) for layer in (cover, trim, tone))
    seam, edge = int(random.uniform(40, 95)), int(random.uniform(50, 110))
    inside = int(random.uniform(50, 95))
    stroke = int(random.integers(3, 6))
    for part in parts:
        closed = part.role != "seam"
        points = pose.place(dense(part.outline, step=0.08, closed=closed))
        path = points.ravel().tolist()
        if not closed:
            tones.line(path, fill=seam, width=stroke)
            continue
        covers.polygon(path, fill=255)
        trims.polygon(path, fill=255 if part.role == "trim" else 0)
        tones.polygon(path, fill=inside if part.role == "inside" else _NEUTRAL)
        tones.line(path, fill=edge, width=stroke)
    cover, trim, tone = (layer.reduce(_OVERSAMPLING) for layer in (cover, trim, tone))
    shares = (np.asarray(layer, dtype=np.float32) for layer in (cover, trim, tone))
    covered, trimmed, toned = shares
    return covered / 255, trimmed / 255, toned / _NEUTRAL, cover


def _cloth(random: Random, fabric: Fabric, pose: Pose) -> np.ndarray:
    """The colour of the fabric at every pixel; shape (3, HEIGHT, WIDTH), or (3, 1, 1) where it is plain."""
    first, second = _colour(random), _colour(random)
    if fabric == "plain":
        return first
    across, down = pose.lift()
    bent = 0.03 * _field(random, cells=4)
    across, down = across + bent, down - bent
    size, share = random.uniform(5, 20), random.uniform(0.2, 0.6)
    along = across if random.random() < 0.4 else down
    if fabric == "stripes":
        weave = (_phase(along * size) < share) * 1.0
    elif fabric == "checks":
        weave = 0.5 * (_phase(across * size) < share) + 0.5 * (_phase(down * size) < share)
    elif fabric == "dots":
        weave = ((_phase(across * size) - 0.5) ** 2 + (_phase(down * size) - 0.5) ** 2 < 0.07) * 1.0
    elif fabric == "flowers":
        weave = (_field(random, cells=int(random.integers(12, 40))) > random.uniform(0.2, 0.6)) * 1.0
    elif fabric == "knit":
        weave = 0.4 + 0.4 * np.sin(along * random.uniform(60, 160))
        second = first * random.uniform(0.4, 0.7)
    else:  # denim: blue or black with a worn, mottled surface
        weave = 0.35 + 0.25 * _field(random, cells=100) + 0.3 * _field(random, cells=5)
        first = _planes(np.array([0.2, 0.3, 0.5]) * random.uniform(0.3, 1.5))
        second = first * 0.6 + 0.3
        return first + (second - first) * np.clip(weave, 0, 1)
    return first + (second - first) * (weave.astype(np.float32) * random.uniform(0.4, 1.0))


def _lay(scene: np.ndarray, parts: Sequence[Part], fabric: Fabric, pose: Pose, random: Random) -> np.ndarray:
    """The scene with a garment and its shadow on it."""
    cover, trim, tone, mask = _paint(parts, pose, random)
    colour = _cloth(random, fabric, pose)
    if fabric == "plain" and random.random() < _CAMOUFLAGED:
        colour = scene.mean(axis=(1, 2), keepdims=True) * random.uniform(0.8, 1.2)
    colour = colour + (_colour(random) - colour) * trim
    tone = tone * _creases(random, strength=random.uniform(0.1, 0.7))
    shadow = np.asarray(mask.filter(ImageFilter.BoxBlur(random.uniform(3, 10))), dtype=np.float32) / 255
    down, across = (int(step) for step in random.integers(-8, 9, 2))
    dark = 1 - random.uniform(0.1, 0.6) * _shifted(shadow, down=down, across=across)
    tone *= 0.75 + 0.25 * shadow  # the cloth curves away at its edges
    colour *= tone * cover
    colour += scene * (dark * (1 - cover))
    return colour


def _clutter(scene: np.ndarray, random: Random, *, pieces: int) -> np.ndarray:
    """The scene with a few plain things on it, most of them near its edges."""
    if pieces == 0:
        return scene
    layer = Image.new("L", (WIDTH, HEIGHT), 0)
    draw = ImageDraw.Draw(layer)
    colours = np.zeros((3, pieces + 1), dtype=np.float32)
    for piece in range(1, pieces + 1):
        colours[:, piece] = _colour(random).ravel()
        angle = random.uniform(0, 2 * np.pi)
        centre = (0.5 + random.uniform(0.38, 0.6) * np.array([np.cos(angle), np.sin(angle)])) * (WIDTH, HEIGHT)
        corners = ellipse((0, 0), (random.uniform(15, 90), random.uniform(10, 50)))[:: int(random.integers(1, 7))]
        turn = random.uniform(0, 2 * np.pi)
        matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        draw.polygon((corners @ matrix + centre).ravel().tolist(), fill=piece)
    index = np.asarray(layer)
    return np.where(index > 0, np.take(colours, index, axis=1) * (0.9 + 0.1 * _DOWN), scene)


def _camera(scene: np.ndarray, random: Random) -> Image.Image:
    """Light from one side, exposure, white balance, contrast, blur and sensor noise."""
    angle = random.uniform(0, 2 * np.pi)
    light = 1 + random.uniform(0, 0.35) * (math.cos(angle) * _ACROSS + math.sin(angle) * _DOWN)
    light = light * (1 - random.uniform(0, 0.18) * (_ACROSS**2 + _DOWN**2))
    balance = _planes(random.uniform(0.9, 1.3) * (1 + random.normal(0, 0.05, 3)))
    contrast = random.uniform(0.8, 1.15)
    noise = random.standard_normal((HEIGHT, WIDTH), dtype=np.float32) * (255 * random.uniform(0.004, 0.022))
    picture = scene * light
    picture *= balance * (255 * contrast)
    picture += noise + 255 * (0.5 - 0.5 * contrast)
    np.clip(picture, 0, 255, out=picture)
    image = Image.merge("RGB", [Image.fromarray(plane) for plane in picture.astype(np.uint8)])
    return image.filter(ImageFilter.BoxBlur(random.uniform(0.3, 1.4))) if random.random() < 0.5 else image
