"""What verification keeps, leaves out, notes, finds twice and refuses; and its memory."""

import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fashion_tuning.data.verify import Duplicate, LeftOut, verified, verify
from fashion_tuning.errors import DataError, DiskError

Candidates = list[tuple[str, str, str]]


def photo(path: Path, seed: int, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)


def garments(root: Path, *, each: int = 2, labels: tuple[str, ...] = ("dress", "hat")) -> Candidates:
    candidates = []
    for split in ("train", "validation", "test"):
        for label in labels:
            for number in range(each):
                path = f"{split}/{label}/{number}.png"
                photo(root / path, seed=len(candidates))
                candidates.append((path, label, split))
    return candidates


def test_good_photos(tmp_path):
    candidates = garments(tmp_path)
    verification = verify(tmp_path, reversed(candidates))
    assert [(one.path, one.label, one.split) for one in verification.manifest.photos] == sorted(candidates)
    assert verification.left_out == verification.notes == verification.duplicates == ()
    first = verification.manifest.photos[0]
    assert first.sha256 == hashlib.sha256((tmp_path / first.path).read_bytes()).hexdigest()


def test_progress_reaches_the_end(tmp_path):
    calls = []
    verify(tmp_path, garments(tmp_path), progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 12) for done in range(1, 13)]


def test_unusable_files_are_left_out_by_name(tmp_path):
    candidates = garments(tmp_path, each=60)
    (tmp_path / "train/hat/empty.jpg").touch()
    (tmp_path / "train/hat/text.jpg").write_text("no image")
    candidates += [("train/hat/empty.jpg", "hat", "train"), ("train/hat/text.jpg", "hat", "train")]
    candidates += [("train/hat/gone.jpg", "hat", "train")]
    verification = verify(tmp_path, candidates)
    assert len(verification.manifest.photos) == 360
    reasons = {one.path: one.reason for one in verification.left_out}
    assert list(reasons) == ["train/hat/empty.jpg", "train/hat/gone.jpg", "train/hat/text.jpg"]
    assert "empty" in reasons["train/hat/empty.jpg"]
    assert "No such file" in reasons["train/hat/gone.jpg"]


@pytest.mark.parametrize("name", ["a\nb.png", "a\udcff.png"])
def test_unfit_names_are_left_out_and_can_be_printed(tmp_path, name):
    candidates = garments(tmp_path, each=20)
    photo(tmp_path / "train/hat" / name, seed=999)
    verification = verify(tmp_path, [*candidates, (f"train/hat/{name}", "hat", "train")])
    (left_out,) = verification.left_out
    assert left_out.path.isprintable()
    assert left_out.path.startswith("train/hat/a")


def test_remarkable_files_are_noted(tmp_path):
    candidates = garments(tmp_path)
    photo(tmp_path / "train/hat/png.jpg", seed=901, format="PNG")
    Image.new("CMYK", (5, 5), (9, 80, 70, 0)).save(tmp_path / "train/hat/cmyk.JPG")
    Image.new("LA", (5, 5), (9, 80)).save(tmp_path / "train/hat/alpha.png")
    photo(tmp_path / "train/hat/no-ending", seed=902, format="JPEG")
    names = ("png.jpg", "cmyk.JPG", "alpha.png", "no-ending")
    verification = verify(tmp_path, [*candidates, *((f"train/hat/{name}", "hat", "train") for name in names)])
    assert {one.path.rpartition("/")[2]: one.reason for one in verification.notes} == {
        "png.jpg": "named .jpg but holds PNG",
        "cmyk.JPG": "CMYK",
        "alpha.png": "grey; transparency, laid over white",
        "no-ending": "named without an ending but holds JPEG",
    }
    assert len(verification.manifest.photos) == 16


def test_duplicates_are_found_by_bytes_and_by_pixels(tmp_path):
    candidates = garments(tmp_path)
    (tmp_path / "test/hat/copy.png").write_bytes((tmp_path / "test/hat/0.png").read_bytes())
    with Image.open(tmp_path / "train/hat/1.png") as image:
        image.save(tmp_path / "validation/hat/again.bmp")
    candidates += [("test/hat/copy.png", "hat", "test"), ("validation/hat/again.bmp", "hat", "validation")]
    assert verify(tmp_path, candidates).duplicates == (
        Duplicate("test/hat/0.png", "test/hat/copy.png", "bytes", across_splits=False),
        Duplicate("train/hat/1.png", "validation/hat/again.bmp", "pixels", across_splits=True),
    )


def test_pictures_that_splits_share_are_counted_once_each(tmp_path):
    candidates = garments(tmp_path)
    assert verify(tmp_path, candidates).shared == {}
    copies = {
        "train/hat/0.png": ("train/dress/a.png", "validation/hat/a.png", "validation/hat/b.png"),
        "train/hat/1.png": ("test/hat/a.png", "validation/hat/c.png"),
        "test/hat/0.png": ("test/hat/b.png",),
        "test/hat/1.png": ("validation/hat/d.png",),
    }
    for source, targets in copies.items():
        for target in targets:
            (tmp_path / target).write_bytes((tmp_path / source).read_bytes())
            candidates.append((target, target.split("/")[1], target.split("/")[0]))
    assert verify(tmp_path, candidates).shared == {
        "train and validation": 1,
        "train and validation and test": 1,
        "validation and test": 1,
    }


def test_same_pixel_bytes_in_another_shape_are_no_duplicate(tmp_path):
    candidates = garments(tmp_path)
    for name, size in (("wide.png", (8, 4)), ("tall.png", (4, 8))):
        Image.new("RGB", size, "red").save(tmp_path / "train/hat" / name)
        candidates.append((f"train/hat/{name}", "hat", "train"))
    assert verify(tmp_path, candidates).duplicates == ()


def test_exactly_one_in_a_hundred_may_be_unusable(tmp_path):
    candidates = garments(tmp_path, each=33)
    for name in ("x.jpg", "y.jpg"):
        (tmp_path / "train/hat" / name).touch()
        candidates.append((f"train/hat/{name}", "hat", "train"))
    assert len(verify(tmp_path, candidates).left_out) == 2  # of 200
    (tmp_path / "train/hat/z.jpg").touch()
    with pytest.raises(DataError, match=r"3 of 201 files.*train/hat/x\.jpg: the file is empty") as caught:
        verify(tmp_path, [*candidates, ("train/hat/z.jpg", "hat", "train")])
    assert caught.value.exit_code == 3
    assert "1%" in caught.value.expected
    assert caught.value.action


def without(candidates: Candidates, *starts: str) -> Candidates:
    return [row for row in candidates if not row[0].startswith(starts)]


@pytest.mark.parametrize(
    ("removed", "says"),
    [
        (("test/",), "the test split .* has no usable photo"),
        (("train/",), "the train split .* has no usable photo"),
        (("train/hat", "test/hat"), r"'hat' .* validation split only \(train 0, validation 2, test 0\)"),
        (("validation/hat",), r"'hat' .* missing from train or validation \(train 2, validation 0, test 2\)"),
        (("train/dress",), "'dress' .* missing from train or validation"),
        (("train/hat", "validation/hat", "test/hat"), "one class only"),
        (("train/", "validation/", "test/"), "no files"),
    ],
)
def test_missing_classes_and_splits_are_errors(tmp_path, removed, says):
    with pytest.raises(DataError, match=says) as caught:
        verify(tmp_path, without(garments(tmp_path), *removed))
    assert caught.value.action


def test_a_class_may_be_missing_from_test(tmp_path):
    verification = verify(tmp_path, without(garments(tmp_path), "test/hat"))
    assert verification.manifest.counts()["test"] == {"dress": 2, "hat": 0}


def test_a_class_without_a_usable_photo_is_an_error(tmp_path):
    candidates = garments(tmp_path, each=60)
    (tmp_path / "train/shoes.jpg").touch()
    with pytest.raises(DataError, match=r"'shoes' .* has no usable photo .*train 0") as caught:
        verify(tmp_path, [*candidates, ("train/shoes.jpg", "shoes", "train")])
    assert "train/shoes.jpg: the file is empty" in caught.value.action


def forget_nothing(_done: int, _total: int) -> None:
    raise RuntimeError("decoded although the answer was known")


def test_verified_decodes_once(tmp_path):
    candidates = garments(tmp_path / "photos", each=30)
    (tmp_path / "photos/train/hat/empty.jpg").touch()
    candidates.append(("train/hat/empty.jpg", "hat", "train"))
    cache_dir = tmp_path / "cache"
    first = verified(tmp_path / "photos", candidates, cache_dir=cache_dir)
    again = verified(tmp_path / "photos", candidates, cache_dir=cache_dir, progress=forget_nothing)
    assert again == first
    assert first.left_out == (LeftOut("train/hat/empty.jpg", "the file is empty"),)
    assert [path.suffix for path in (cache_dir / "manifests").iterdir()] == [".json"]


@pytest.mark.parametrize("change", ["content", "time", "added", "removed"])
def test_verified_sees_changes(tmp_path, change):
    root, cache_dir = tmp_path / "photos", tmp_path / "cache"
    candidates = garments(root)
    verified(root, candidates, cache_dir=cache_dir)
    if change == "content":
        photo(root / "train/hat/0.png", seed=77)
    elif change == "time":
        os.utime(root / "train/hat/0.png", ns=(time.time_ns(), time.time_ns() + 1))
    elif change == "added":
        photo(root / "train/hat/9.png", seed=78)
        candidates.append(("train/hat/9.png", "hat", "train"))
    else:
        candidates.remove(("train/hat/0.png", "hat", "train"))
    with pytest.raises(RuntimeError, match="decoded"):
        verified(root, candidates, cache_dir=cache_dir, progress=forget_nothing)
    assert verified(root, candidates, cache_dir=cache_dir) == verify(root, candidates)


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "wrong", "flipped", "another's"])
def test_a_broken_memory_is_set_aside_and_made_again(tmp_path, damage, caplog):
    root, cache_dir = tmp_path / "photos", tmp_path / "cache"
    candidates = garments(root)
    first = verified(root, candidates, cache_dir=cache_dir)
    (path,) = (cache_dir / "manifests").iterdir()
    text = path.read_text()
    if damage == "cut":
        path.write_text(text[: len(text) // 2])
    elif damage == "empty":
        path.write_text("")
    elif damage == "other":
        path.write_text("[1, 2]")
    elif damage == "wrong":
        path.write_text(json.dumps(json.loads(text) | {"manifest": "path,sha256,label,split\n"}))
    elif damage == "flipped":
        digest = first.manifest.photos[0].sha256
        path.write_text(text.replace(digest, digest[:-1] + ("0" if digest[-1] != "0" else "1")))
    else:
        path.write_text(json.dumps(json.loads(text) | {"key": "0" * 32}))
    damaged = path.read_text()
    assert verified(root, candidates, cache_dir=cache_dir) == first
    assert verified(root, candidates, cache_dir=cache_dir, progress=forget_nothing) == first
    assert path.with_name(f"{path.name}.broken").read_text() == damaged
    (warning,) = caplog.messages
    assert warning.startswith(f"{path} is damaged; it is now {path.name}.broken")


def test_an_error_is_not_remembered(tmp_path):
    root, cache_dir = tmp_path / "photos", tmp_path / "cache"
    candidates = garments(root)
    (root / "train/hat/0.png").write_bytes(b"")
    with pytest.raises(DataError):
        verified(root, candidates, cache_dir=cache_dir)
    assert not list(cache_dir.rglob("*.json"))


def test_a_cache_that_cannot_be_written(tmp_path):
    candidates = garments(tmp_path / "photos")
    (tmp_path / "cache").touch()
    with pytest.raises(DiskError, match="can't be written") as caught:
        verified(tmp_path / "photos", candidates, cache_dir=tmp_path / "cache")
    assert caught.value.exit_code == 6
