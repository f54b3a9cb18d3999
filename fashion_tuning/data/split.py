"""Which photo trains, which validates, which tests, when the folder doesn't say."""

import hashlib
from collections.abc import Mapping, Sequence


def split_class_folders(paths: Mapping[str, Sequence[str]], *, seed: int = 1) -> list[tuple[str, str, str]]:
    """Splits each class 80/10/10 into train, validation and test.

    Args:
      paths: by label, the POSIX paths of its files relative to the root, in any order.

    Each file's rank is a hash of seed, label and path, so neither the order of a
    listing nor the platform matters and one file more moves at most a few others.
    A class of three files or more stands in every split.

    Returns: (path, label, split), sorted by path.
    """
    rows = []
    for label, members in paths.items():
        ranked = sorted(members, key=lambda path: (_rank(f"{seed}/{label}/{path}"), path))
        num_held_out = max(1, (len(ranked) + 5) // 10)
        num_validation = num_held_out if len(ranked) >= 2 else 0
        num_test = num_held_out if len(ranked) >= 3 else 0
        for place, path in enumerate(ranked):
            if place < num_validation:
                split = "validation"
            elif place < num_validation + num_test:
                split = "test"
            else:
                split = "train"
            rows.append((path, label, split))
    return sorted(rows)


def _rank(text: str) -> str:
    # surrogateescape: a file name that is no valid Unicode is ranked too, and refused later by name.
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
