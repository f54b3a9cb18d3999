"""Views: drawn from the photo alone, each setting within its bounds, never more than it says."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fashion_tuning.data.contact_sheet import draw_views
from fashion_tuning.data.views import IDENTITY, View

SIDE = 60
PHOTO = hashlib.sha256(b"photo").hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()

# One legal value of each setting.
EACH = {
    "rotation": 20.0,
    "shear": 15.0,
    "shift": 0.2,
    "zoom": 0.2,
    "crop": 0.6,
    "brightness": 0.3,
    "contrast": 0.4,
    "saturation": 0.5,
    "erasing": 0.5,
}


# Sums of pixels of those views of one picture.
PINNED = {
    "rotation": 97931,
    "shear": 97958,
    "shift": 97526,
    "zoom": 97933,
    "crop": 98202,
    "brightness": 109800,
    "contrast": 97920,
    "saturation": 98397,
    "erasing": 98253,
}


def noise(side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (side, side, 3), dtype=np.uint8)


def shas(count: int = 40) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(count)]


def dot(row: int, column: int) -> np.ndarray:
    """Black but for a white square of 5 pixels a side."""
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[row - 2 : row + 3, column - 2 : column + 3] = 255
    return pixels


def centre(pixels: np.ndarray) -> np.ndarray:
    """Row and column of the mean brightness."""
    weights = pixels[..., 0].astype(float)
    rows, columns = np.indices(weights.shape)
    return np.array([(rows * weights).sum(), (columns * weights).sum()]) / weights.sum()


def test_the_photo_itself_is_unchanged() -> None:
    pixels = noise()
    assert IDENTITY.apply(pixels, PHOTO) is pixels
    assert View(0, rotation=90.0).apply(pixels, PHOTO) is pixels


def test_a_flip_alone_is_the_exact_mirror_image() -> None:
    pixels = noise()
    assert np.array_equal(View(1, horizontal_flip=True).apply(pixels, PHOTO), pixels[:, ::-1])


@pytest.mark.parametrize("name", EACH)
def test_each_setting_changes_pixels_and_neither_shape_nor_type(name: str) -> None:
    pixels = noise()
    before = pixels.copy()
    changed = View(2, **{name: EACH[name]}).apply(pixels, PHOTO)
    assert (changed.shape, changed.dtype) == (pixels.shape, np.uint8)
    assert not np.array_equal(changed, pixels)
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize("name", EACH)
def test_a_view_is_the_same_every_time_and_another_for_another_photo_or_number(name: str) -> None:
    settings = {name: EACH[name]}
    first = View(1, **settings).apply(noise(), PHOTO)
    assert np.array_equal(first, View(1, **settings).apply(noise(), PHOTO))
    assert not np.array_equal(first, View(1, **settings).apply(noise(), OTHER))
    assert not np.array_equal(first, View(2, **settings).apply(noise(), PHOTO))


def test_a_setting_more_leaves_the_draws_of_the_others() -> None:
    pixels = np.full((SIDE, SIDE, 3), 200, np.uint8)
    brighter = View(1, brightness=0.2).apply(pixels, PHOTO)
    erased = View(1, brightness=0.2, erasing=0.4).apply(pixels, PHOTO)
    different = (brighter != erased).any(-1)
    assert 0 < different.sum() <= (0.4 * SIDE) ** 2
    assert (erased[different] == 128).all()


def test_views_of_odd_numbers_are_mirrored_and_the_others_are_not() -> None:
    left = dot(30, 10)
    for number in range(1, 7):
        found = centre(View(number, horizontal_flip=True, rotation=1.0).apply(left, PHOTO))
        assert (found[1] > SIDE / 2) == (number % 2 == 1)


def test_a_turn_leaves_the_middle_and_stays_within_its_degrees() -> None:
    turns = []
    for sha256 in shas():
        pixels = View(1, rotation=30.0).apply(dot(30, 50), sha256)
        row, column = centre(pixels) - (SIDE - 1) / 2
        turns.append(np.degrees(np.arctan2(row, column)))
        assert np.hypot(row, column) == pytest.approx(20.5, abs=0.8)
    assert max(np.abs(turns)) <= 31
    assert min(turns) < -15
    assert max(turns) > 15


def test_a_shift_stays_within_its_share() -> None:
    moved = np.array([centre(View(1, shift=0.2).apply(dot(30, 30), sha256)) - 30 for sha256 in shas()])
    assert np.abs(moved).max() <= 0.2 * SIDE
    assert np.abs(moved).max() > 0.1 * SIDE


@pytest.mark.parametrize(("settings", "low", "high"), [({"zoom": 0.25}, 0.8, 1.34), ({"crop": 0.5}, 1.0, 2.0)])
def test_sizes_stay_within_their_share(settings: dict[str, float], low: float, high: float) -> None:
    """The distance of two dots near the middle; a cut-out may lose one of them."""
    pixels = np.maximum(dot(30, 25), dot(30, 35))
    found = []
    for sha256 in shas():
        columns = np.flatnonzero(View(1, **settings).apply(pixels, sha256)[..., 0].max(0) > 127)
        gap = np.diff(columns).max() if len(columns) > 1 else 0
        if gap > 1:
            found.append((gap - 1) / 5)  # five black columns between them
    assert len(found) > 10
    assert min(found) >= low - 0.3
    assert max(found) <= high + 0.3


def test_light_stays_within_its_share() -> None:
    grey = np.full((SIDE, SIDE, 3), 120, np.uint8)
    lights = [int(View(1, brightness=0.2).apply(grey, sha256)[0, 0, 0]) - 120 for sha256 in shas()]
    assert max(map(abs, lights)) <= 51
    assert max(lights) > 25 > -25 > min(lights)
    assert (View(1, contrast=0.5).apply(grey, PHOTO) == grey).all()
    assert np.abs(View(1, saturation=0.5).apply(grey, PHOTO).astype(int) - 120).max() <= 1


@given(
    st.builds(
        View,
        number=st.integers(1, 9),
        horizontal_flip=st.booleans(),
        rotation=st.floats(0, 180),
        crop=st.floats(0.1, 1),
        erasing=st.floats(0, 1),
        brightness=st.floats(0, 1),
    )
)
def test_a_name_says_all_of_a_view(view: View) -> None:
    assert View.parse(view.name) == view
    changed = view.apply(noise(12), PHOTO)
    assert np.array_equal(View.parse(view.name).apply(noise(12), PHOTO), changed)


@pytest.mark.parametrize("name", ["mirror", "[]", '{"number": 1}', '{"version": 0, "number": 1}'])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"view|Expecting"):
        View.parse(name)


def test_views_are_pinned() -> None:
    """Where a number changes, so do features on disk: raise VIEW_VERSION."""
    ramp = (np.arange(16 * 16 * 3).reshape(16, 16, 3) * 7 % 256).astype(np.uint8)
    sums = {name: int(View(1, **{name: value}).apply(ramp, PHOTO).astype(int).sum()) for name, value in EACH.items()}
    assert sums == PINNED


def test_a_contact_sheet_has_a_row_per_photo_and_a_column_per_view() -> None:
    colours = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40  # of two views of three photos
    sheet = np.asarray(draw_views([np.stack([np.full((9, 9, 3), one, np.uint8) for one in row]) for row in colours]))
    height, width, _ = sheet.shape
    assert height > width
    for column, row in np.ndindex(2, 3):
        middle = sheet[(2 * row + 1) * height // 6, (2 * column + 1) * width // 4]
        assert middle.tolist() == [colours[column, row]] * 3
