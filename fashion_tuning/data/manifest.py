"""What the photos are: path, content, label and split of each, and one digest that names them all."""

import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from fashion_tuning.errors import DataError

SPLITS = ("train", "validation", "test")
HEADER = ("path", "sha256", "label", "split")


@dataclass(frozen=True, slots=True, order=True)
class Photo:
    """One photo.

    `path` is POSIX and relative to the data set's root, `sha256` is of the file's
    bytes (64 lower-case hexadecimal characters), `split` is one of SPLITS.
    """

    path: str
    sha256: str
    label: str
    split: str


@dataclass(frozen=True)
class Manifest:
    """All photos of a data set, sorted by path.

    Raises:
      DataError: a path twice, a path that leaves the root, an unknown split, a sha256 that is none.
    """

    photos: tuple[Photo, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "photos", tuple(sorted(self.photos)))
        previous = None
        for photo in self.photos:
            if problem := _problem(photo):
                raise DataError(f"the manifest names {photo.path!r}: {problem}")
            if photo.path == previous:
                raise DataError(f"the manifest names {photo.path!r} twice", expected="one line for each photo")
            previous = photo.path

    @cached_property
    def digest(self) -> str:
        """32 hexadecimal characters of the CSV text's sha256; MLflow allows 36."""
        return hashlib.sha256(self.to_csv().encode()).hexdigest()[:32]

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The labels that occur, sorted: a label's place is the network's output for it."""
        return tuple(sorted({photo.label for photo in self.photos}))

    def select(self, split: str) -> tuple[Photo, ...]:
        """The photos of one split, sorted by path."""
        if split not in SPLITS:
            raise ValueError(f"split {split!r}, expected one of {', '.join(SPLITS)}")
        return tuple(photo for photo in self.photos if photo.split == split)

    def counts(self) -> dict[str, dict[str, int]]:
        """Number of photos by split and label, zeros included."""
        numbers = {split: dict.fromkeys(self.classes, 0) for split in SPLITS}
        for photo in self.photos:
            numbers[photo.split][photo.label] += 1
        return numbers

    def to_csv(self) -> str:
        """The canonical text: header path,sha256,label,split and one line for each photo, by path."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows((photo.path, photo.sha256, photo.label, photo.split) for photo in self.photos)
        return text.getvalue()

    @classmethod
    def from_csv(cls, text: str) -> Self:
        """Reads what to_csv wrote; lines may stand in any order.

        Raises:
          DataError: with the line at fault.
        """
        return cls(tuple(_read_photos(text)))


def unfit_name(name: str) -> str:
    """Why a path or label can't stand in a manifest, or "" where it can."""
    if not name:
        return "its name is empty"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not valid Unicode"
    if any(unicodedata.category(character) == "Cc" for character in name):
        return "its name holds control characters"
    return ""


def _problem(photo: Photo) -> str:
    if problem := unfit_name(photo.path) or unfit_name(photo.label):
        return problem
    if photo.path.startswith("/") or not {"", ".", ".."}.isdisjoint(photo.path.split("/")):
        return "not a path inside the data set's folder"
    if photo.split not in SPLITS:
        return f"split {photo.split!r} is none of {', '.join(SPLITS)}"
    if not re.fullmatch(r"[0-9a-f]{64}", photo.sha256):
        return f"sha256 {photo.sha256!r} is not 64 hexadecimal characters"
    return ""


def _read_photos(text: str) -> Iterable[Photo]:
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(lines, [])
        if tuple(header) != HEADER:
            raise DataError(f"a manifest that begins with {','.join(header)[:80]!r}", expected=",".join(HEADER))
        for fields in lines:
            if len(fields) != len(HEADER):
                raise DataError(
                    f"a manifest with {len(fields)} fields in line {lines.line_num}", expected=",".join(HEADER)
                )
            photo = Photo(*fields)
            if problem := _problem(photo):
                raise DataError(f"a manifest with {photo.path!r} in line {lines.line_num}: {problem}")
            yield photo
    except csv.Error as error:
        raise DataError(f"a manifest that is no CSV in line {lines.line_num}: {error}") from error
