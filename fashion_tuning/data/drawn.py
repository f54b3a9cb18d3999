"""Drawn garments: a procedural data set of the ten classes, for machines that the photos can't reach.

Every picture is a pure function of the version, a seed, its label and its
index, so the data set is the same wherever it is drawn. They are made as hard
as a study needs: good configurations stand well apart from bad ones, and none
is perfect; `make tune` without photos prints by how much. Whoever changes a
picture looks at that again and counts DRAWN_VERSION up.
"""

import hashlib
import io
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image

from fashion_tuning.data.garments import accessories, bottoms, tops
from fashion_tuning.data.garments.outline import Part
from fashion_tuning.data.garments.scene import Fabric, photograph
from fashion_tuning.data.manifest import Manifest, Photo
from fashion_tuning.errors import DataError, DiskError
from fashion_tuning.locks import locked

DRAWN_VERSION: int = 1
RECORD_NAME = ".manifest.csv"  # hidden, so that nobody takes it for a photo
PER_CLASS: Mapping[str, int] = MappingProxyType({"train": 60, "validation": 12, "test": 12})


@dataclass(frozen=True)
class _Kind:
    """How a class is cut, and the fabrics it is made of; one named twice is twice as likely."""

    cut: Callable[[np.random.Generator], list[Part]]
    fabrics: tuple[Fabric, ...]


_KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        "dress": _Kind(tops.dress, ("plain", "plain", "plain", "flowers", "flowers", "dots", "stripes")),
        "hat": _Kind(accessories.hat, ("plain", "plain", "plain", "knit", "checks", "denim")),
        "longsleeve": _Kind(tops.longsleeve, ("plain", "plain", "plain", "knit", "knit", "stripes", "dots")),
        "outwear": _Kind(tops.outwear, ("plain", "plain", "plain", "plain", "denim", "checks", "knit")),
        "pants": _Kind(bottoms.pants, ("plain", "plain", "plain", "denim", "denim", "checks", "stripes")),
        "shirt": _Kind(tops.shirt, ("plain", "plain", "checks", "checks", "stripes", "denim", "flowers")),
        "shoes": _Kind(accessories.shoes, ("plain", "plain", "plain", "plain", "plain", "denim", "flowers")),
        "shorts": _Kind(bottoms.shorts, ("plain", "plain", "plain", "denim", "denim", "checks", "flowers")),
        "skirt": _Kind(bottoms.skirt, ("plain", "plain", "plain", "checks", "denim", "flowers", "dots")),
        "t-shirt": _Kind(tops.t_shirt, ("plain", "plain", "plain", "plain", "stripes", "stripes", "dots")),
    }
)
_NEIGHBOUR_SHARE = 0.08  # of the pictures show a bit of another garment at the edge


def draw_garment(label: str, *, seed: int, index: int) -> Image.Image:
    """One picture of a garment: RGB, 300 x 400, a pure function of its arguments and DRAWN_VERSION.

    Raises:
      DataError: `label` is none of the ten classes.
    """
    if label not in _KINDS:
        raise DataError(
            f"a garment of the class {label!r} can't be drawn",
            expected=f"one of {', '.join(_KINDS)}",
            action="name a class from this list",
        )
    # Python's own hash() differs from process to process.
    key = hashlib.blake2b(f"{DRAWN_VERSION}/{seed}/{label}/{index}".encode(), digest_size=16).digest()
    random = np.random.default_rng(int.from_bytes(key, "big"))
    kind = _KINDS[label]
    parts = kind.cut(random)
    fabric = kind.fabrics[random.integers(len(kind.fabrics))]
    neighbour: list[Part] = []
    if random.random() < _NEIGHBOUR_SHARE:
        neighbour = list(_KINDS.values())[random.integers(len(_KINDS))].cut(random)
    return photograph(parts, fabric, random, neighbour=neighbour)


def draw_dataset(
    root: Path,
    *,
    seed: int = 1,
    per_class: Mapping[str, int] = PER_CLASS,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draws the whole data set into `root`, or returns at once where `root` exists.

    Writes root/<split>/<label>/<label>-0001.jpg and so on, and what it has written
    into root/.manifest.csv. The number counts through all splits, so that no two
    splits share a picture. The pictures are
    drawn into `<root>.partial` and moved into place when all are there; a
    `<root>.lock` beside it keeps two processes apart.

    Args:
      root: The folder to make; missing parents are made too.
      seed: Another seed draws other pictures.
      per_class: Pictures of each class by split.
      progress: Called after each picture with the number drawn and the number in all.

    Raises:
      DiskError: The folder can't be written or the disk is full.
    """
    partial = root.with_name(root.name + ".partial")
    try:
        if root.exists():
            return
        root.parent.mkdir(parents=True, exist_ok=True)
        with locked(root.with_name(root.name + ".lock")):
            if root.exists():
                return
            shutil.rmtree(partial, ignore_errors=True)  # what a killed process left
            try:
                _draw_all(partial, seed=seed, per_class=per_class, progress=progress)
                partial.replace(root)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
    except OSError as error:
        raise DiskError(
            f"the drawn garments can't be written to {root}: {error.strerror or error}",
            expected="a folder that can be written, with about 20 MB free",
            action="free some space, or choose another cache folder with FASHION_TUNING_CACHE",
        ) from error


def drawn_manifest(root: Path) -> Manifest | None:
    """What was drawn into a folder, None where the record of that is missing or damaged; read-only."""
    try:
        return Manifest.from_csv((root / RECORD_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, DataError):
        return None


def _draw_all(
    folder: Path, *, seed: int, per_class: Mapping[str, int], progress: Callable[[int, int], None] | None
) -> None:
    photos = []
    total = len(_KINDS) * sum(per_class.values())
    done = 0
    index = 0
    for split, count in per_class.items():
        for label in _KINDS:
            target = folder / split / label
            target.mkdir(parents=True)
            for number in range(index + 1, index + count + 1):
                picture = io.BytesIO()  # a full disk is named where plain bytes are written, not where Pillow encodes
                draw_garment(label, seed=seed, index=number).save(picture, "JPEG", quality=90)
                path = target / f"{label}-{number:04d}.jpg"
                path.write_bytes(picture.getvalue())
                digest = hashlib.sha256(picture.getvalue()).hexdigest()
                photos.append(Photo(path.relative_to(folder).as_posix(), digest, label, split))
                done += 1
                if progress is not None:
                    progress(done, total)
        index += count
    (folder / RECORD_NAME).write_text(Manifest(tuple(photos)).to_csv(), encoding="utf-8")
