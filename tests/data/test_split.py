"""The rule that splits class folders: stratified, stable, blind to order."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fashion_tuning.data.manifest import SPLITS
from fashion_tuning.data.split import split_class_folders


def files(label: str, number: int) -> list[str]:
    return [f"{label}/{index}.jpg" for index in range(number)]


@given(st.integers(3, 300), st.integers(1, 10))
def test_80_10_10_with_every_class_in_every_split(number, seed):
    rows = split_class_folders({"hat": files("hat", number)}, seed=seed)
    counts = Counter(split for _, _, split in rows)
    assert sorted(path for path, _, _ in rows) == sorted(files("hat", number))
    assert all(counts[split] >= 1 for split in SPLITS)
    assert counts["validation"] == counts["test"]
    assert abs(counts["validation"] - number / 10) <= 1
    assert counts["train"] >= counts["validation"]


@given(st.randoms())
def test_order_of_listing_does_not_matter(random):
    paths = {"hat": files("hat", 40), "dress": files("dress", 25)}
    shuffled = {label: random.sample(paths[label], len(paths[label])) for label in ("dress", "hat")}
    assert split_class_folders(shuffled) == split_class_folders(paths)


@given(st.integers(3, 200))
def test_one_file_more_moves_at_most_a_few(number):
    before = {path: split for path, _, split in split_class_folders({"hat": files("hat", number)})}
    after = {path: split for path, _, split in split_class_folders({"hat": [*files("hat", number), "hat/new.jpg"]})}
    assert sum(before[path] != after[path] for path in before) <= 3


def test_classes_do_not_touch_each_other():
    alone = split_class_folders({"hat": files("hat", 30)})
    beside = split_class_folders({"hat": files("hat", 30), "dress": files("dress", 30)})
    assert [row for row in beside if row[1] == "hat"] == alone


def test_the_rule_is_pinned():
    rows = split_class_folders({"hat": files("hat", 10)})
    # Where this changes, folders on record get another manifest, and their studies begin anew.
    assert [path for path, _, split in rows if split == "validation"] == ["hat/7.jpg"]
    assert [path for path, _, split in rows if split == "test"] == ["hat/2.jpg"]


def test_seeds_differ():
    paths = {"hat": files("hat", 100)}
    assert split_class_folders(paths, seed=1) != split_class_folders(paths, seed=2)


def test_tiny_classes():
    assert [split for _, _, split in split_class_folders({"hat": files("hat", 1)})] == ["train"]
    assert sorted(split for _, _, split in split_class_folders({"hat": files("hat", 2)})) == ["train", "validation"]
    assert split_class_folders({"hat": []}) == []
