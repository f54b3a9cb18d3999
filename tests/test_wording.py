"""Times, sizes, numbers of things and the banner, as a person reads them."""

import pytest

from fashion_tuning.wording import count, drawn_banner, duration, ordinal, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (8.4, "8 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (60, "1 min"),
        (95, "1 min 35 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h"),
        (3600, "1 h"),
        (3900, "1 h 5 min"),
        (90_000, "25 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0 KB"),
        (1, "1 KB"),
        (12_300, "13 KB"),
        (999_000, "999 KB"),
        (999_001, "1.0 MB"),
        (27_926_528, "27.9 MB"),
        (999_960_000, "1.0 GB"),
        (3.14e9, "3.1 GB"),
    ],
)
def test_size(num_bytes: float, text: str) -> None:
    assert size(num_bytes) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "no trials"), (1, "1 trial"), (2, "2 trials"), (1200, "1,200 trials")]
)
def test_count(number: int, text: str) -> None:
    assert count(number, "trial") == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, "1st"),
        (2, "2nd"),
        (3, "3rd"),
        (4, "4th"),
        (11, "11th"),
        (12, "12th"),
        (113, "113th"),
        (21, "21st"),
        (22, "22nd"),
        (103, "103rd"),
    ],
)
def test_ordinal(number: int, text: str) -> None:
    assert ordinal(number) == text


def test_the_banner_fits_a_terminal_and_says_how_to_use_photos() -> None:
    lines = drawn_banner().splitlines()
    assert max(len(line) for line in lines) <= 80
    assert "FASHION_TUNING_DATA=FOLDER make tune" in drawn_banner()
