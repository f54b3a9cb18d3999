"""Where photos are found, in which layouts, and what a wrong folder is told."""

import os
import shutil
from functools import partial
from pathlib import Path

import pytest
from photo_folders import class_folders, photo, split_folders

from fashion_tuning.data import source
from fashion_tuning.data.download import COMMIT, shipped_manifest
from fashion_tuning.data.drawn import RECORD_NAME, draw_dataset
from fashion_tuning.data.source import Dataset, open_dataset, open_drawn
from fashion_tuning.errors import DataError, DiskError, PhotosUnreachableError

PHOTOS = os.environ.get("FASHION_TUNING_DATA", "")


def test_photos_in_a_folder_of_any_name_have_a_name_that_can_be_recorded(tmp_path: Path) -> None:
    root = split_folders(tmp_path / os.fsdecode(b"100%20 \xe9?"))
    dataset = open_dataset(root, cache_dir=tmp_path / "cache")
    assert (dataset.name, dataset.root) == ("100%20 \ufffd?", root)
    joined = open_dataset(split_folders(tmp_path / "base"), joining=[root / "train"], cache_dir=tmp_path / "cache")
    joined.name.encode()


def test_split_folders_are_used_as_they_are(tmp_path):
    root = split_folders(tmp_path / "my photos")
    dataset = open_dataset(root, cache_dir=tmp_path / "cache")
    assert (dataset.name, dataset.kind, dataset.root) == ("my photos", "folder", root)
    assert dataset.manifest.counts() == {
        "train": {"dress": 1, "hat": 1},
        "validation": {"dress": 2, "hat": 2},
        "test": {"dress": 3, "hat": 3},
    }
    assert all(dataset.path(photo).is_file() for photo in dataset.manifest.photos)
    assert dataset.manifest.photos[0].path == "test/dress/0.png"


def test_class_folders_are_split(tmp_path):
    dataset = open_dataset(class_folders(tmp_path / "photos"), cache_dir=tmp_path / "cache")
    counts = dataset.manifest.counts()
    assert counts == {
        "train": {"dress": 8, "hat": 8},
        "validation": {"dress": 1, "hat": 1},
        "test": {"dress": 1, "hat": 1},
    }


def test_the_place_of_a_folder_does_not_change_its_digest(tmp_path):
    first = class_folders(tmp_path / "first")
    shutil.copytree(first, tmp_path / "second")
    digests = [open_dataset(root, cache_dir=tmp_path / "c").manifest.digest for root in (first, tmp_path / "second")]
    assert digests[0] == digests[1]


def test_what_file_managers_leave_behind_is_ignored(tmp_path):
    root = class_folders(tmp_path / "photos")
    before = open_dataset(root, cache_dir=tmp_path / "cache").verification
    for name in ("LICENSE", "README.md", ".hidden", "hat/Thumbs.db", "hat/.DS_Store", "hat/desktop.ini", "hat/._1.png"):
        (root / name).write_text("not a photo")
    for name in (".git", "__MACOSX"):
        (root / name).mkdir()
        (root / name / "config").write_text("not a photo")
    assert open_dataset(root, cache_dir=tmp_path / "cache").verification == before


def test_every_other_file_is_looked_at(tmp_path):
    root = class_folders(tmp_path / "photos", each=100)
    photo(root / "hat" / "upper.PNG", seed=901)
    photo(root / "hat" / "modern.webp", seed=902)
    photo(root / "hat" / "deeper" / "still.png", seed=903)
    (root / "hat" / "notes.txt").write_text("not a photo")
    dataset = open_dataset(root, cache_dir=tmp_path / "cache")
    assert {"hat/upper.PNG", "hat/modern.webp", "hat/deeper/still.png"} <= {one.path for one in dataset.manifest.photos}
    assert [one.path for one in dataset.verification.left_out] == ["hat/notes.txt"]


def test_other_folders_beside_the_splits_are_ignored(tmp_path):
    root = split_folders(tmp_path / "photos")
    photo(root / "unsorted" / "0.png", seed=900)
    assert len(open_dataset(root, cache_dir=tmp_path / "cache").manifest.photos) == 12


def missing(root: Path) -> None:
    shutil.rmtree(root)


def a_file(root: Path) -> None:
    shutil.rmtree(root)
    root.write_text("a file")


def empty(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()


def loose(root: Path) -> None:
    empty(root)
    photo(root / "0.png", seed=0)


def no_test(root: Path) -> None:
    shutil.rmtree(root / "dress")
    shutil.rmtree(root / "hat")
    split_folders(root)
    shutil.rmtree(root / "test")


def other_names(root: Path) -> None:
    no_test(root)
    (root / "validation").rename(root / "val")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (missing, "does not exist"),
        (a_file, "is a file"),
        (empty, "is empty"),
        (loose, "holds 1 files and no sub-folder"),
        (no_test, "holds train/, validation/ but no test/"),
        (other_names, "holds train/, val/ but no validation/, test/"),
    ],
)
def test_a_wrong_folder_is_told(tmp_path, spoil, says):
    root = class_folders(tmp_path / "photos")
    spoil(root)
    with pytest.raises(DataError, match=says) as caught:
        open_dataset(root, cache_dir=tmp_path / "cache")
    assert not isinstance(caught.value, PhotosUnreachableError)  # a named folder is never replaced
    assert str(root) in caught.value.received
    assert "train/, validation/ and test/" in caught.value.expected
    assert "one per class" in caught.value.expected
    assert "--data" in caught.value.action


@pytest.mark.parametrize("layout", [class_folders, split_folders])
def test_an_empty_class_is_told(tmp_path, layout):
    root = layout(tmp_path / "photos")
    for folder in ("shoes", "train/shoes", "test/shoes"):
        if (root / folder).parent.is_dir():
            (root / folder).mkdir()
    with pytest.raises(DataError, match="no photo for the class 'shoes'"):
        open_dataset(root, cache_dir=tmp_path / "cache")


def test_an_unpacked_archive_is_recognized(tmp_path):
    split_folders(tmp_path / "download" / "photos-main")
    with pytest.raises(DataError) as caught:
        open_dataset(tmp_path / "download", cache_dir=tmp_path / "cache")
    assert str(tmp_path / "download" / "photos-main") in caught.value.action


def test_a_class_of_one_photo(tmp_path):
    root = class_folders(tmp_path / "photos")
    photo(root / "shoes" / "0.png", seed=900)
    with pytest.raises(DataError, match=r"'shoes' .* train split only"):
        open_dataset(root, cache_dir=tmp_path / "cache")


def test_an_unreachable_download(monkeypatch, tmp_path):
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the discard port: nobody listens there
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(PhotosUnreachableError):
        open_dataset(None, cache_dir=tmp_path)


def test_changed_photos_in_the_cache_stay_where_they_cannot_be_downloaded_again(monkeypatch, tmp_path):
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    root = split_folders(tmp_path / "photos" / f"clothing-dataset-small-{COMMIT[:12]}")
    with pytest.raises(DataError, match="were changed") as caught:
        open_dataset(None, cache_dir=tmp_path)
    assert not isinstance(caught.value, PhotosUnreachableError)  # drawn garments would take their place
    assert str(root) in caught.value.received
    assert [path.name for path in root.parent.iterdir() if path.is_dir()] == [root.name]


def drawn_with(change, cache_dir: Path, monkeypatch) -> tuple[Dataset, Path]:
    """A small set of drawn garments that was changed and opened again; and where it lies."""
    monkeypatch.setattr(source, "draw_dataset", partial(draw_dataset, per_class=FEW))
    before = open_drawn(cache_dir=cache_dir)
    change(before.root)
    after = open_drawn(cache_dir=cache_dir)
    assert after.manifest == before.manifest
    return after, before.root


FEW = {"train": 1, "validation": 1, "test": 1}


def flip(root: Path) -> None:
    path = next(root.glob("train/hat/*.jpg"))
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def cut(root: Path) -> None:
    os.truncate(next(root.glob("test/hat/*.jpg")), 200)


def lose(root: Path) -> None:
    next(root.glob("validation/hat/*.jpg")).unlink()


def lose_a_split(root: Path) -> None:
    shutil.rmtree(root / "test")


def add(root: Path) -> None:
    photo(root / "train" / "hat" / "mine.png", seed=1)


def spoil_the_record(root: Path) -> None:
    (root / RECORD_NAME).write_text("path,sha256")


@pytest.mark.parametrize("change", [flip, cut, lose, lose_a_split, add, spoil_the_record])
def test_changed_garments_in_the_cache_are_set_aside_and_drawn_again(change, tmp_path, monkeypatch, caplog):
    _, root = drawn_with(change, tmp_path, monkeypatch)
    (warning,) = caplog.messages
    assert warning == f"{root} was changed since it was filled; it is now {root.name}.broken, and filled again"
    assert (root.parent / f"{root.name}.broken").is_dir()
    caplog.clear()
    open_drawn(cache_dir=tmp_path)
    assert caplog.messages == []


def test_photos_that_were_only_touched_stay(tmp_path, monkeypatch, caplog):
    def touch(root: Path) -> None:
        for path in root.rglob("*.jpg"):
            os.utime(path, (1, 1))

    drawn_with(touch, tmp_path, monkeypatch)
    assert caplog.messages == []


def test_a_second_broken_folder_gets_a_name_of_its_own(tmp_path, monkeypatch):
    drawn_with(lose, tmp_path, monkeypatch)
    _, root = drawn_with(flip, tmp_path, monkeypatch)
    names = {path.name for path in root.parent.iterdir() if path.is_dir()}
    assert names == {root.name, f"{root.name}.broken", f"{root.name}.broken-2"}


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "cache").touch()
    with pytest.raises(DiskError):
        open_dataset(class_folders(tmp_path / "photos"), cache_dir=tmp_path / "cache")
    with pytest.raises(DiskError):
        open_dataset(None, cache_dir=tmp_path / "cache")


@pytest.mark.skipif(not PHOTOS, reason="FASHION_TUNING_DATA is not set")
def test_the_real_photos(tmp_path):
    dataset = open_dataset(Path(PHOTOS), cache_dir=tmp_path)
    if dataset.name != "clothing-dataset-small":
        pytest.skip("FASHION_TUNING_DATA holds other photos")
    assert dataset.manifest == shipped_manifest()
    assert dataset.verification.left_out == dataset.verification.notes == dataset.verification.duplicates == ()
