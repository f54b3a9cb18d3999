"""Drawn garments: the same wherever they are drawn, complete or not there at all."""

import hashlib
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fashion_tuning.data.drawn import PER_CLASS, draw_dataset, draw_garment
from fashion_tuning.errors import DataError, DiskError

LABELS = ["dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt"]
SMALL = {"train": 3, "validation": 1, "test": 2}


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("drawn") / "garments"
    draw_dataset(root, per_class=SMALL)
    return root


def pixels(path: Path) -> str:
    with Image.open(path) as image:
        return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


@pytest.mark.parametrize("label", LABELS)
def test_a_picture_is_a_pure_function_of_its_arguments(label):
    picture = draw_garment(label, seed=1, index=7)
    assert (picture.mode, picture.size) == ("RGB", (300, 400))
    assert picture.tobytes() == draw_garment(label, seed=1, index=7).tobytes()
    assert picture.tobytes() != draw_garment(label, seed=2, index=7).tobytes()
    assert picture.tobytes() != draw_garment(label, seed=1, index=8).tobytes()


def test_another_process_with_another_hash_seed_draws_the_same_picture():
    script = (
        "import hashlib; from fashion_tuning.data.drawn import draw_garment; "
        "print(hashlib.sha256(draw_garment('skirt', seed=3, index=4).tobytes()).hexdigest())"
    )
    here = hashlib.sha256(draw_garment("skirt", seed=3, index=4).tobytes()).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "12345", "PYTHONPATH": ":".join(sys.path)},
    )
    assert there.stdout.strip() == here


@pytest.mark.parametrize("label", LABELS)
def test_pictures_show_something_and_vary(label):
    pictures = [np.asarray(draw_garment(label, seed=5, index=index), dtype=float) for index in range(6)]
    for picture in pictures:
        assert picture.std() > 5
    differences = [np.abs(first - second).mean() for first, second in pairwise(pictures)]
    assert min(differences) > 5


def test_no_class_ever_fails_to_draw():
    for label in LABELS:
        for index in range(1000, 1012):
            draw_garment(label, seed=11, index=index)


def test_an_unknown_label_names_the_ten_classes():
    with pytest.raises(DataError) as caught:
        draw_garment("socks", seed=1, index=1)
    assert "'socks'" in caught.value.received
    assert all(label in caught.value.expected for label in LABELS)


def test_every_split_has_every_class_with_the_right_number(small):
    counts = Counter((path.parts[-3], path.parts[-2]) for path in small.rglob("*.jpg"))
    assert counts == {(split, label): count for split, count in SMALL.items() for label in LABELS}
    assert sum(PER_CLASS.values()) * len(LABELS) == 840
    with Image.open(small / "train" / "t-shirt" / "t-shirt-0001.jpg") as image:
        image.load()
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (300, 400))


def test_no_two_pictures_have_the_same_name_or_pixels(small):
    paths = sorted(small.rglob("*.jpg"))
    assert len({path.name for path in paths}) == len(paths)
    assert len({pixels(path) for path in paths}) == len(paths)


def test_the_data_set_is_the_same_elsewhere_and_differs_with_the_seed(small, tmp_path):
    draw_dataset(tmp_path / "same", per_class={"train": 1})
    draw_dataset(tmp_path / "other", seed=2, per_class={"train": 1})
    for label in LABELS:
        name = Path("train") / label / f"{label}-0001.jpg"
        assert (tmp_path / "same" / name).read_bytes() == (small / name).read_bytes()
        assert (tmp_path / "other" / name).read_bytes() != (small / name).read_bytes()


def test_progress_counts_every_picture_once(tmp_path):
    seen: list[tuple[int, int]] = []
    draw_dataset(tmp_path / "garments", per_class={"train": 2}, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 20) for done in range(1, 21)]


def test_an_existing_folder_is_left_alone(tmp_path):
    root = tmp_path / "garments"
    root.mkdir()
    (root / "mine.txt").write_text("mine")
    draw_dataset(root, per_class=SMALL)
    assert [path.name for path in tmp_path.rglob("*")] == ["garments", "mine.txt"]


def test_what_a_killed_process_left_does_no_harm(tmp_path):
    left_over = tmp_path / "garments.partial" / "train" / "dress"
    left_over.mkdir(parents=True)
    (left_over / "dress-9999.jpg").write_bytes(b"half a pict")
    (tmp_path / "garments.lock").touch()
    draw_dataset(tmp_path / "garments", per_class={"train": 1})
    assert sorted(path.name for path in (tmp_path / "garments").rglob("*.jpg")) == [f"{x}-0001.jpg" for x in LABELS]
    assert not (tmp_path / "garments.partial").exists()


def test_an_interrupted_drawing_leaves_nothing_that_looks_complete(tmp_path):
    def interrupt(done: int, _total: int) -> None:
        assert not (tmp_path / "garments").exists()
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_dataset(tmp_path / "garments", per_class={"train": 1}, progress=interrupt)
    assert not (tmp_path / "garments").exists()
    draw_dataset(tmp_path / "garments", per_class={"train": 1})
    assert len(list((tmp_path / "garments").rglob("*.jpg"))) == len(LABELS)


def test_two_that_start_at_once_make_one_whole_data_set(tmp_path):
    drawn: list[int] = []

    def draw(_: int) -> None:
        draw_dataset(tmp_path / "garments", per_class={"train": 1}, progress=lambda done, _: drawn.append(done))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(draw, range(2)))
    assert len(list((tmp_path / "garments").rglob("*.jpg"))) == len(LABELS)
    assert len(drawn) == len(LABELS)  # the second waited and drew nothing


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DiskError, match="file/garments"):
        draw_dataset(tmp_path / "file" / "garments", per_class=SMALL)
