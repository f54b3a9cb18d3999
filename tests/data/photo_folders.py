"""Small folders of photos, as people have them."""

from pathlib import Path

import numpy as np
from PIL import Image


def photo(path: Path, seed: int) -> None:
    """Writes a picture that no other seed gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def class_folders(root: Path, *, each: int = 10, labels: tuple[str, ...] = ("dress", "hat"), first: int = 0) -> Path:
    """One folder per class."""
    for number, label in enumerate(labels):
        for index in range(each):
            photo(root / label / f"{index}.png", seed=first + number * 100 + index)
    return root


def split_folders(root: Path, *, labels: tuple[str, ...] = ("dress", "hat")) -> Path:
    """A folder per split with one per class: 1, 2 and 3 photos each."""
    for number, split in enumerate(("train", "validation", "test")):
        class_folders(root / split, each=number + 1, labels=labels, first=10_000 * number)
    return root
