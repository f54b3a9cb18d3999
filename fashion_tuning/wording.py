"""How times, sizes, numbers of things and warnings are worded for a person."""

import math
from collections.abc import Mapping


def duration(seconds: float) -> str:
    """Such as "8 s", "3 min 20 s" or "1 h 5 min"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if minutes:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{rest} s"


def size(num_bytes: float) -> str:
    """Such as "12 KB", "27.9 MB" or "1.2 GB", in powers of ten; kilobytes are rounded up."""
    kilobytes, megabytes = math.ceil(num_bytes / 1e3), round(num_bytes / 1e6, 1)
    if kilobytes < 1000:
        return f"{kilobytes} KB"
    return f"{megabytes:.1f} MB" if megabytes < 1000 else f"{num_bytes / 1e9:.1f} GB"


def count(number: int, what: str) -> str:
    """Such as "no trials", "1 trial" or "1,200 trials"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}" if number else f"no {what}s"


def shared_pictures(shared: Mapping[str, int]) -> str:
    """Such as "3 pictures stand in several splits: 2 in train and validation, 1 in train and test"."""
    number = sum(shared.values())
    stands = "picture stands" if number == 1 else "pictures stand"
    places = ", ".join(f"{pictures:,} in {splits}" for splits, pictures in shared.items())
    return f"{number:,} {stands} in several splits: {places}"


def luck(flattery: float, best: float) -> str:
    """What a best score owes to having been picked; such as "about 0.0112 of the best score is luck of the pick"."""
    if f"{flattery:.4f}" == "0.0000":
        return "no sign that the best score owes anything to luck of the pick"
    return f"about {flattery:.4f} of the best score is luck of the pick; {best - flattery:.4f} without it"


def ordinal(number: int) -> str:
    """Such as "1st", "12th" or "23rd"."""
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def drawn_banner() -> str:
    """What drawn garments are, and how to use photos in their place."""
    rule = "=" * 78
    return (
        f"{rule}\n"
        "DRAWN GARMENTS. These pictures are drawn by the program; they are no photos, and\n"
        "no figure of this study says anything about real garments. They stand in an\n"
        "MLflow experiment of their own whose name ends in -drawn.\n"
        "To use photos: FASHION_TUNING_DATA=FOLDER make tune, where FOLDER has train/,\n"
        "validation/ and test/ with one folder per class, or just one folder per class.\n"
        "With the network up, plain `make tune` downloads clothing-dataset-small.\n"
        f"{rule}"
    )
