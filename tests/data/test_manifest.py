"""The manifest's text, its digest, and what it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fashion_tuning.data.manifest import SPLITS, Manifest, Photo
from fashion_tuning.errors import DataError

A, B = "a" * 64, "b" * 64
SMALL = Manifest((Photo("train/hat/2.jpg", B, "hat", "train"), Photo("test/dress/1.jpg", A, "dress", "test")))

names = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)
photos = st.builds(
    Photo,
    path=st.lists(names, min_size=1, max_size=3).map("/".join),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    label=names,
    split=st.sampled_from(SPLITS),
)
manifests = st.lists(photos, max_size=12, unique_by=lambda photo: photo.path).map(lambda some: Manifest(tuple(some)))


@given(manifests)
def test_csv_round_trip(manifest):
    again = Manifest.from_csv(manifest.to_csv())
    assert again == manifest
    assert again.digest == manifest.digest


@given(manifests, st.randoms())
def test_order_does_not_matter(manifest, random):
    shuffled = list(manifest.photos)
    random.shuffle(shuffled)
    assert Manifest(tuple(shuffled)) == manifest


@given(manifests)
def test_splits_and_counts_cover_all(manifest):
    assert sorted(photo for split in SPLITS for photo in manifest.select(split)) == list(manifest.photos)
    counts = manifest.counts()
    assert sum(sum(counts[split].values()) for split in SPLITS) == len(manifest.photos)
    assert all(tuple(counts[split]) == manifest.classes for split in SPLITS)


def test_text_and_digest_are_pinned():
    assert SMALL.to_csv() == (
        f"path,sha256,label,split\ntest/dress/1.jpg,{A},dress,test\ntrain/hat/2.jpg,{B},hat,train\n"
    )
    assert SMALL.digest == "db805e9b8b011ebe75625425113b5c4f"
    assert len(SMALL.digest) == 32


def test_every_field_changes_the_digest():
    one = Photo("train/hat/2.jpg", A, "hat", "train")
    others = [
        Photo("train/hat/3.jpg", A, "hat", "train"),
        Photo("train/hat/2.jpg", B, "hat", "train"),
        Photo("train/hat/2.jpg", A, "cap", "train"),
        Photo("train/hat/2.jpg", A, "hat", "test"),
    ]
    assert len({Manifest((photo,)).digest for photo in (one, *others)}) == 5


def test_classes_and_zero_counts():
    assert SMALL.classes == ("dress", "hat")
    assert SMALL.counts() == {
        "train": {"dress": 0, "hat": 1},
        "validation": {"dress": 0, "hat": 0},
        "test": {"dress": 1, "hat": 0},
    }


def test_unknown_split_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="validation"):
        SMALL.select("valid")


@pytest.mark.parametrize(
    ("photo", "says"),
    [
        (Photo("/etc/passwd", A, "hat", "train"), "inside"),
        (Photo("train/../../x.jpg", A, "hat", "train"), "inside"),
        (Photo("train//x.jpg", A, "hat", "train"), "inside"),
        (Photo("", A, "hat", "train"), "empty"),
        (Photo("x.jpg", A, "", "train"), "empty"),
        (Photo("a\nb.jpg", A, "hat", "train"), "control"),
        (Photo("a\udcff.jpg", A, "hat", "train"), "Unicode"),
        (Photo("x.jpg", A, "hat", "valid"), "valid"),
        (Photo("x.jpg", "A" * 64, "hat", "train"), "sha256"),
    ],
)
def test_unfit_photos_are_refused(photo, says):
    with pytest.raises(DataError, match=says):
        Manifest((photo,))


def test_a_path_twice_is_refused():
    with pytest.raises(DataError, match="twice"):
        Manifest((Photo("x.jpg", A, "hat", "train"), Photo("x.jpg", B, "hat", "test")))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "begins with"),
        ("path,label\n", "begins with"),
        (f"path,sha256,label,split\nx.jpg,{A},hat\n", "3 fields in line 2"),
        (f"path,sha256,label,split\nx.jpg,{A},hat,train\n\n", "0 fields in line 3"),
        (f"path,sha256,label,split\nx.jpg,{A},hat,training\n", "line 2"),
        (f'path,sha256,label,split\n"x.jpg,{A},hat,train\n', "no CSV"),
    ],
)
def test_malformed_text_is_refused(text, says):
    with pytest.raises(DataError, match=says):
        Manifest.from_csv(text)
