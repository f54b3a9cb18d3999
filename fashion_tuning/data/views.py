"""Views of a photo: seeded changes of its pixels that leave its category as it is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Final, Self

import numpy as np
from scipy.ndimage import affine_transform

VIEW_VERSION: Final = 1  # raise it, and TRAINING_VERSION, when a change of this module changes a pixel
_GREY: Final = 128
_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


@dataclass(frozen=True)
class View:
    """One view: of every photo the same number, of each its own draw.

    The changes are drawn from a hash of photo and number, so that a view of a photo is the same wherever and whenever
    it is made; a setting more leaves the others' draws as they are. Geometry comes in one step, bilinear, mirrored
    beyond the edges.

    Args:
      number: Which view, from 1; 0 is the photo itself, unchanged.
      horizontal_flip: Whether views of odd numbers are mirrored.
      rotation, shear: Degrees, at most, either way.
      shift: Share of the side, at most, in each direction.
      zoom: Share by which things are larger or smaller, at most.
      crop: The smallest share of the side that a cut-out keeps; 1 keeps the whole.
      brightness: Share of the full range that is added or taken away, at most.
      contrast, saturation: Share by which they are raised or lowered, at most.
      erasing: Side of a grey square in a random place, a share of the photo's side, at most
        (Zhong et al. 2020, arXiv:1708.04896).
    """

    number: int = 0
    horizontal_flip: bool = False
    rotation: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    crop: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    erasing: float = 0.0

    @property
    def name(self) -> str:
        """All that decides its pixels, as JSON; "identity" for the photo itself."""
        if self.number == 0:
            return "identity"
        return json.dumps({"version": VIEW_VERSION, **asdict(self)}, sort_keys=True)

    @classmethod
    def parse(cls, name: str) -> Self:
        """The view of that name.

        Raises:
          ValueError: It is no name of a view, or of another version.
        """
        if name == "identity":
            return cls()
        settings = json.loads(name)
        if not isinstance(settings, dict) or settings.pop("version", None) != VIEW_VERSION:
            raise ValueError(f"view {name!r}, expected one of version {VIEW_VERSION}")
        return cls(**settings)

    def apply(self, pixels: np.ndarray, sha256: str) -> np.ndarray:
        """The view of one photo.

        Args:
          pixels: (side, side, 3) uint8 RGB.
          sha256: Of the photo's file: what its draw depends on.

        Returns: the same shape and type; the very same array for number 0.
        """
        if self.number == 0:
            return pixels
        draw = iter(self._random(sha256).uniform(-1, 1, 16).tolist())
        changed = self._move(pixels, [next(draw) for _ in range(9)])
        changed = self._colour(changed, [next(draw) for _ in range(3)])
        return self._erase(changed, [next(draw) for _ in range(3)])

    def _random(self, sha256: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{VIEW_VERSION}/{self.number}/{sha256}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:16], "big"))

    def _move(self, pixels: np.ndarray, draw: list[float]) -> np.ndarray:
        mirrored = pixels[:, ::-1] if self.horizontal_flip and self.number % 2 else pixels
        turn, slant = np.deg2rad(self.rotation * draw[0]), np.deg2rad(self.shear * draw[1])
        kept = 1 - (1 - self.crop) * (draw[2] + 1) / 2
        scale = kept / np.array([1 + self.zoom * draw[3], 1 + self.zoom * draw[4]])
        # Rows before columns; in units of half a side, from the middle.
        rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        matrix = rotation @ np.array([[1, 0], [np.tan(slant), 1]]) @ np.diag(scale)
        offset = 2 * self.shift * np.array(draw[5:7]) + (1 - kept) * np.array(draw[7:9])
        if np.array_equal(matrix, np.eye(2)) and not offset.any():
            return np.ascontiguousarray(mirrored)
        middle = (len(pixels) - 1) / 2
        offset = middle - matrix @ np.array([middle, middle]) + middle * offset
        planes = [affine_transform(mirrored[..., plane], matrix, offset, order=1, mode="mirror") for plane in range(3)]
        return np.stack(planes, axis=-1)

    def _colour(self, pixels: np.ndarray, draw: list[float]) -> np.ndarray:
        if not (self.brightness or self.contrast or self.saturation):
            return pixels
        values = pixels.astype(np.float32) + 255 * self.brightness * draw[0]
        mean = values.mean()
        values = mean + (values - mean) * (1 + self.contrast * draw[1])
        grey = (values @ _LUMA)[..., None]
        values = grey + (values - grey) * (1 + self.saturation * draw[2])
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)

    def _erase(self, pixels: np.ndarray, draw: list[float]) -> np.ndarray:
        side = round(len(pixels) * self.erasing * (draw[0] + 1) / 2)
        if not side:
            return pixels
        top, left = (int((len(pixels) - side) * (one + 1) / 2) for one in draw[1:])
        changed = pixels.copy()
        changed[top : top + side, left : left + side] = _GREY
        return changed


IDENTITY: Final = View()
