"""How a folder of photos is laid out: with splits or by classes alone; and what a wrong one is told."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fashion_tuning.data.labels import composed, labels_of
from fashion_tuning.data.listing import NUM_NAMED, LeftOut, is_folder, list_files, list_folders, list_loose
from fashion_tuning.data.manifest import SPLITS
from fashion_tuning.data.split import split_class_folders
from fashion_tuning.data.verify import Candidate
from fashion_tuning.errors import DataError

LAYOUTS: Final = "a folder with train/, validation/ and test/, each with one sub-folder per class, or one per class"
# What else people call the splits. Where none of the first three, or a split's own name, is there as well, the names
# below the line may be classes.
_MEANT: Final = {
    **{"train": "train", "training": "train", "validation": "validation", "val": "validation", "valid": "validation"},
    **{"test": "test", "testing": "test"},
}
_PERHAPS_MEANT: Final = {"dev": "validation", "eval": "validation", "validate": "validation", "holdout": "test"}


@dataclass(frozen=True)
class Layout:
    """What a folder of photos holds.

    Args:
      candidates: Files that may be photos, with label and split, sorted by path.
      left_out: What lies beside them and is none, or belongs to no class.
    """

    candidates: tuple[Candidate, ...]
    left_out: tuple[LeftOut, ...]


def read_layout(root: Path) -> Layout:
    """Find the splits and the classes in a folder of photos; read-only.

    Raises:
      DataError: It is none of the two layouts, or can't be read.
    """
    if not is_folder(root):
        try:
            root.stat()
        except FileNotFoundError:
            raise _wrong_folder(root, "does not exist") from None
        except OSError as error:
            raise _wrong_folder(root, f"can't be read: {error.strerror}") from error
        raise _wrong_folder(root, "is a file")
    folders = list_folders(root)
    if set(SPLITS) <= set(folders):
        return _by_splits(root, [name for name in folders if name not in SPLITS])
    if any(name.lower() in _MEANT for name in folders):
        raise _wrong_splits(root, folders)
    return _by_classes(root, folders)


def _by_splits(root: Path, others: Sequence[str]) -> Layout:
    folders = {split: list_folders(root / split) for split in SPLITS}
    labels = labels_of(root, folders)
    candidates: list[Candidate] = []
    left_out = [LeftOut(f"{name}/", "a folder beside the splits") for name in others]
    left_out += [LeftOut(name, "beside the splits, so of none") for name in list_loose(root)]
    for split in SPLITS:
        left_out += [LeftOut(f"{split}/{name}", "in no class's folder") for name in list_loose(root / split)]
        for name in folders[split]:
            listing = list_files(root, f"{split}/{name}")
            candidates += [(path, labels[name], split) for path in listing.files]
            left_out += listing.left_out
    _refuse_empty(root, set(labels.values()) - {label for _, label, _ in candidates})
    return Layout(tuple(sorted(candidates)), tuple(left_out))


def _by_classes(root: Path, folders: Sequence[str]) -> Layout:
    loose = list_loose(root)
    if not folders:
        problem = f"holds {len(loose)} files and no sub-folder" if loose else "is empty, or holds no photo"
        raise _wrong_folder(root, problem)
    if len(folders) == 1:
        _refuse_wrapping(root, folders[0])
    nested = _nested(root, folders)
    labels = labels_of(root, {"": [name for name in folders if name not in nested]})
    listings = {label: list_files(root, name) for name, label in labels.items()}
    _refuse_empty(root, {label for label, listing in listings.items() if not listing.files})
    left_out = [
        LeftOut(f"{name}/", f"no class, but a folder of classes itself: {inside}") for name, inside in nested.items()
    ]
    left_out += [LeftOut(name, "in no class's folder") for name in loose]
    left_out += [entry for listing in listings.values() for entry in listing.left_out]
    return Layout(
        tuple(split_class_folders({label: listing.files for label, listing in listings.items()})), tuple(left_out)
    )


def _nested(root: Path, folders: Sequence[str]) -> dict[str, str]:
    """Folders among classes that hold nothing but such classes themselves, as an export of feedback or a copy does."""
    known = {composed(name) for name in folders}
    nested = {}
    for name in folders:
        inside = list_folders(root / name)
        if inside and known - {composed(name)} >= {composed(label) for label in inside} and not list_loose(root / name):
            nested[name] = _shown(inside)
    return nested


def _refuse_wrapping(root: Path, name: str) -> None:
    """Follows folders that hold one folder and nothing else down to the photos, which then are what is meant.

    Raises:
      DataError: With the folder to name.
    """
    inner = root / name
    while not list_loose(inner):
        folders = list_folders(inner)
        if len(folders) > 1 or any(folder.lower() in _MEANT for folder in folders):
            raise _wrong_folder(
                root,
                f"holds one folder, and {inner.relative_to(root)}/ holds {_shown(folders)}",
                action=f"name the inner folder: --data {shlex.quote(str(inner))}",
            )
        if not folders:
            return
        inner = inner / folders[0]


def _wrong_splits(root: Path, folders: Sequence[str]) -> DataError:
    names = _MEANT | _PERHAPS_MEANT
    met = {name: names[name.lower()] for name in folders if name.lower() in names}
    missing = [split for split in SPLITS if split not in folders]
    actions = []
    for split in missing:
        other = next((name for name, meant in met.items() if meant == split), None)
        if other:
            actions.append(f"mv {shlex.quote(str(root / other))} {shlex.quote(str(root / split))}")
        else:
            actions.append(f"put photos that no other split has into {split}/, one sub-folder per class")
    if any(split not in met.values() for split in missing):
        actions.append("or name with --data a folder with one sub-folder per class, which is then split 80/10/10")
    return _wrong_folder(root, f"holds {_shown(list(met))} but no {_shown(missing)}", action="; ".join(actions))


def _shown(folders: Sequence[str]) -> str:
    more = f", and {len(folders) - NUM_NAMED} more" if len(folders) > NUM_NAMED else ""
    return ", ".join(f"{name}/" for name in folders[:NUM_NAMED]) + more


def _refuse_empty(root: Path, labels: set[str]) -> None:
    if labels:
        raise _wrong_folder(
            root,
            f"holds no photo for the class {', '.join(repr(label) for label in sorted(labels)[:5])}",
            action="add photos, or remove the folder",
        )


def _wrong_folder(folder: Path, problem: str, *, action: str = "") -> DataError:
    return DataError(
        f"the data folder {folder} {problem}",
        expected=LAYOUTS,
        action=action or "name the right folder with --data or FASHION_TUNING_DATA",
    )
