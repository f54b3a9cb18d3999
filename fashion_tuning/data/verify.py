"""Opens every file once: what is usable, what is left out and why, what stands there twice."""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, Final

import PIL
from PIL import Image

from fashion_tuning.data.decode import DECODE_VERSION, UnreadableImageError, read
from fashion_tuning.data.labels import lookalikes, shown_apart
from fashion_tuning.data.listing import NUM_NAMED, LeftOut, read_file
from fashion_tuning.data.manifest import SPLITS, Manifest, Photo, unfit_name
from fashion_tuning.errors import DataError
from fashion_tuning.files import write_text

# Raise it when a change of this module changes what is kept, reported or written: older answers are then not read.
VERIFY_VERSION: Final = 3
MAX_LEFT_OUT: Final = 0.01

_logger = logging.getLogger(__name__)

Candidate = tuple[str, str, str]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Duplicate:
    """Two files with the same content: `kind` is "bytes", or "pixels" where only the decoded photos are equal."""

    first: str
    second: str
    kind: str
    across_splits: bool


@dataclass(frozen=True)
class Verification:
    """The usable photos, the files left out, notes on files read rightly but remarkable, and duplicates."""

    manifest: Manifest
    left_out: tuple[LeftOut, ...]
    notes: tuple[LeftOut, ...]
    duplicates: tuple[Duplicate, ...]

    @property
    def shared(self) -> dict[str, int]:
        """How many pictures stand in more than one split, by these splits, such as {"train and validation": 2}."""
        split_of = {photo.path: photo.split for photo in self.manifest.photos}
        pictures: dict[str, set[str]] = {}
        for pair in self.duplicates:
            pictures.setdefault(pair.first, {split_of[pair.first]}).add(split_of[pair.second])
        places = [" and ".join(split for split in SPLITS if split in splits) for splits in pictures.values()]
        return dict(sorted(Counter(names for names in places if " and " in names).items()))


@dataclass(frozen=True)
class _Seen:
    photo: Photo
    pixels: str
    remarks: tuple[str, ...]


def verify(root: Path, candidates: Iterable[Candidate], *, progress: Progress | None = None) -> Verification:
    """Decodes every candidate wholly and hashes its bytes and pixels. Read-only.

    Args:
      candidates: (path, label, split), the path POSIX and relative to root.
      progress: Called with (files done, files in all), from the calling thread.

    Raises:
      DataError: more than 1% of the files are left out, a class or a split is empty, train or
        validation lacks a class, or a class stands in one split only.
    """
    rows = sorted(candidates)
    if not rows:
        raise DataError(f"no files in {root}", expected="photos", action="name another folder with --data")
    seen: list[_Seen] = []
    left_out: list[LeftOut] = []
    pool = ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="verify")
    try:
        for done, result in enumerate(pool.map(lambda row: _look_at(root, *row), rows), start=1):
            if isinstance(result, _Seen):
                seen.append(result)
            else:
                left_out.append(result)
            if progress is not None:
                progress(done, len(rows))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C must not wait for thousands of files
    _check(root, rows, seen, left_out)
    return Verification(
        manifest=Manifest(tuple(one.photo for one in seen)),
        left_out=tuple(left_out),
        notes=tuple(LeftOut(one.photo.path, "; ".join(one.remarks)) for one in seen if one.remarks),
        duplicates=tuple(_duplicates(seen)),
    )


def verified(
    root: Path, candidates: Iterable[Candidate], *, cache_dir: Path, progress: Progress | None = None
) -> Verification:
    """As verify, but remembers the answer until a file's path, size or time of change differs.

    Writes cache_dir/manifests/<key>.json, atomically. A damaged one is renamed to *.broken, which
    is logged as a warning, and made again.

    Raises:
      DataError: as verify; such answers are not remembered.
      DiskError: cache_dir can't be written.
    """
    rows = sorted(candidates)
    path = cache_dir / "manifests" / f"{_key(root, rows)}.json"
    known = _load(path)
    if known is not None:
        return known
    verification = verify(root, rows, progress=progress)
    _store(path, verification)
    return verification


def _look_at(root: Path, path: str, label: str, split: str) -> _Seen | LeftOut:
    if problem := unfit_name(path) or unfit_name(label):
        return LeftOut(ascii(path)[1:-1], problem)
    try:
        data = read_file(root / path)
        reading = read(BytesIO(data))
    except UnreadableImageError as error:
        return LeftOut(path, error.reason)
    except OSError as error:
        return LeftOut(path, error.strerror or str(error))
    suffix = PurePosixPath(path).suffix
    content = "JPEG" if reading.format == "MPO" else reading.format
    remarks = reading.remarks
    if Image.registered_extensions().get(suffix.lower()) != content:
        remarks = (f"named {suffix or 'without an ending'} but holds {content}", *remarks)
    pixels = hashlib.sha256(repr(reading.image.size).encode() + reading.image.tobytes()).hexdigest()
    return _Seen(Photo(path, hashlib.sha256(data).hexdigest(), label, split), pixels, remarks)


def _check(root: Path, rows: Sequence[Candidate], seen: Sequence[_Seen], left_out: Sequence[LeftOut]) -> None:
    files = "; ".join(f"{one.path}: {one.reason}" for one in left_out[:NUM_NAMED])
    more = f"; and {len(left_out) - NUM_NAMED} more" if len(left_out) > NUM_NAMED else ""
    because = f" (left out: {files}{more})" if left_out else ""
    if len(left_out) > MAX_LEFT_OUT * len(rows):
        raise DataError(
            f"{len(left_out)} of {len(rows)} files in {root} are unusable: {files}{more}",
            expected=f"at most {MAX_LEFT_OUT:.0%} unusable files",
            action="repair or remove these files",
        )
    labels = sorted({label for _, label, _ in rows})
    counts = {split: dict.fromkeys(labels, 0) for split in SPLITS}
    for one in seen:
        counts[one.photo.split][one.photo.label] += 1
    add = "add photos, or remove the class's folder" + because
    for split in SPLITS:
        if not any(counts[split].values()):
            raise DataError(
                f"the {split} split in {root} has no usable photo{because}",
                expected="photos in train, validation and test",
                action="add photos to this split",
            )
    for label in labels:
        numbers = ", ".join(f"{split} {counts[split][label]}" for split in SPLITS)
        found = [split for split in SPLITS if counts[split][label]]
        if not found:
            problem = f"class {label!r} in {root} has no usable photo"
        elif len(found) == 1:
            problem = f"class {label!r} in {root} stands in the {found[0]} split only"
        elif "train" not in found or "validation" not in found:
            problem = f"class {label!r} in {root} is missing from train or validation"
        else:
            continue
        meant = _meant_as_one(label, counts)
        raise DataError(
            f"{problem} ({numbers}){meant}",
            expected="every class in train and validation",
            action="give the folders of one class one name" if meant else add,
        )
    if len(labels) < 2:
        raise DataError(f"one class only in {root}: {labels[0]!r}", expected="at least two classes", action=add)


def _meant_as_one(label: str, counts: Mapping[str, Mapping[str, int]]) -> str:
    """Names another class that a person may have meant as the same; "" where there is none."""
    for other in lookalikes(label, counts[SPLITS[0]]):
        first, second = shown_apart(label, other)
        where = " and ".join(split for split in SPLITS if counts[split][other])
        return f"; are {first} and {second}, which stands in {where}, one class?"
    return ""


def _duplicates(seen: Sequence[_Seen]) -> Iterable[Duplicate]:
    by_bytes: dict[str, _Seen] = {}
    by_pixels: dict[str, _Seen] = {}
    for one in seen:
        # The first file of the same bytes, else of the same pixels: the pairs of a group span it, so a group
        # that stands in two splits has a pair that does.
        kind = "bytes" if one.photo.sha256 in by_bytes else "pixels"
        first = by_bytes.setdefault(one.photo.sha256, by_pixels.setdefault(one.pixels, one))
        if first is not one:
            across = first.photo.split != one.photo.split
            yield Duplicate(first.photo.path, one.photo.path, kind, across)


def _key(root: Path, rows: Sequence[Candidate]) -> str:
    digest = hashlib.sha256(repr((VERIFY_VERSION, DECODE_VERSION, PIL.__version__, str(root.resolve()))).encode())
    for row in rows:
        try:
            status = (root / row[0]).stat()
            state = (status.st_size, status.st_mtime_ns)
        except OSError:
            state = (-1, -1)
        digest.update(repr((row, state)).encode())
    return digest.hexdigest()[:32]


def _load(path: Path) -> Verification | None:
    """The remembered answer, None where there is none; a damaged one is set aside."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.pop("sha256") != _digest(record) or record["key"] != path.stem:
            raise ValueError("other content than was written")
        return Verification(
            manifest=Manifest.from_csv(record["manifest"]),
            left_out=tuple(LeftOut(**one) for one in record["left_out"]),
            notes=tuple(LeftOut(**one) for one in record["notes"]),
            duplicates=tuple(Duplicate(**one) for one in record["duplicates"]),
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, DataError):
        # Where it can't be renamed it can't be written either, and then that is the error.
        with suppress(OSError):
            path.replace(path.with_name(f"{path.name}.broken"))
            _logger.warning("%s is damaged; it is now %s.broken, and the photos are verified anew", path, path.name)
        return None


def _store(path: Path, verification: Verification) -> None:
    record = asdict(verification) | {"manifest": verification.manifest.to_csv(), "key": path.stem}
    write_text(path, json.dumps(record | {"sha256": _digest(record)}))


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
