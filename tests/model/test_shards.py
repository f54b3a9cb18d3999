import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fashion_tuning.errors import DiskError
from fashion_tuning.model import shards
from fashion_tuning.model.shards import ShardedArray

ROWS = np.random.default_rng(1).normal(size=(10, 3)).astype(np.float32)  # shards of 4, 4 and 2 rows


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_SIZE", 4)


def new(folder: Path) -> ShardedArray:
    return ShardedArray(folder / "train.npy", len(ROWS), ROWS.shape[1:])


def write(array: ShardedArray, *numbers: int) -> None:
    for shard in numbers:
        rows = array.rows(shard)
        array.write(shard, ROWS[rows.start : rows.stop])


@pytest.fixture
def array(tmp_path: Path) -> ShardedArray:
    array = new(tmp_path)
    array.allocate()
    write(array, 0, 1, 2)
    return array


def test_finished_array_is_a_plain_npy_file(array: ShardedArray) -> None:
    np.testing.assert_array_equal(np.load(array.path), ROWS)
    np.testing.assert_array_equal(array.load(), ROWS)
    assert array.verify() == [True, True, True]
    assert array.has_header()
    assert array.has_full_size()
    assert ShardedArray.find(array.path) == array


def test_shards_count_one_by_one_in_any_order(tmp_path: Path) -> None:
    array = new(tmp_path)
    assert array.verify() == [False, False, False]
    array.allocate()
    assert array.verify() == [False, False, False]
    write(array, 2)
    assert array.verify() == [False, False, True]
    write(array, 0)
    assert array.verify() == [True, False, True]


def test_rows_without_their_record_do_not_count(array: ShardedArray) -> None:
    # What a kill between the two leaves behind.
    record = json.loads(array.record_path.read_text())
    record["sha256"][1] = ""
    array.record_path.write_text(json.dumps(record))
    assert array.verify() == [True, False, True]


def cut(array: ShardedArray) -> None:
    os.truncate(array.path, array.path.stat().st_size - 1)


def cut_in_the_first_shard(array: ShardedArray) -> None:
    os.truncate(array.path, 140)


def flip(array: ShardedArray) -> None:
    content = bytearray(array.path.read_bytes())
    content[-(6 + 1) * 3 * 4] ^= 1  # in the fourth row, the last one of the first shard
    array.path.write_bytes(content)


def empty_file(array: ShardedArray) -> None:
    array.path.write_bytes(b"")


def remove_file(array: ShardedArray) -> None:
    array.path.unlink()


def other_shape(array: ShardedArray) -> None:
    np.save(array.path, ROWS[:, :2])


def other_type(array: ShardedArray) -> None:
    np.save(array.path, ROWS.astype(np.float64))


def empty_record(array: ShardedArray) -> None:
    array.record_path.write_text("")


def list_as_record(array: ShardedArray) -> None:
    array.record_path.write_text("[1, 2]")


def nothing_as_digests(array: ShardedArray) -> None:
    array.record_path.write_text('{"shard_size": 4, "shape": [10, 3], "sha256": null}')


def other_shard_size(array: ShardedArray) -> None:
    record = json.loads(array.record_path.read_text())
    array.record_path.write_text(json.dumps(record | {"shard_size": 5}))


def too_few_digests(array: ShardedArray) -> None:
    record = json.loads(array.record_path.read_text())
    array.record_path.write_text(json.dumps(record | {"sha256": record["sha256"][:2]}))


@pytest.mark.parametrize(
    ("damage", "good"),
    [
        (cut, [True, True, False]),
        (cut_in_the_first_shard, [False, False, False]),
        (flip, [False, True, True]),
        (empty_file, [False] * 3),
        (remove_file, [False] * 3),
        (other_shape, [False] * 3),
        (other_type, [False] * 3),
        (empty_record, [False] * 3),
        (list_as_record, [False] * 3),
        (nothing_as_digests, [False] * 3),
        (other_shard_size, [False] * 3),
        (too_few_digests, [False] * 3),
    ],
)
def test_damage_is_found_and_mended(
    damage: Callable[[ShardedArray], None], good: list[bool], array: ShardedArray
) -> None:
    damage(array)
    assert array.verify() == good
    array.allocate()
    assert array.verify() == good  # nothing good is lost by it
    write(array, *(shard for shard, is_good in enumerate(good) if not is_good))
    assert array.verify() == [True, True, True]
    np.testing.assert_array_equal(array.load(), ROWS)


ARRAY = "features {path}"
RECORD = "features {record} is damaged or of another version; it is now train.json.broken, and all is computed anew"
HEAD = f"{ARRAY} does not begin as it should; it is now train.npy.broken, and all is computed anew"
SHARD = f"{ARRAY}: shard {{}} of 3 is damaged; its bytes are now train.npy.shard-{{}}.broken, and it is computed anew"


@pytest.mark.parametrize(
    ("damage", "lines", "kept"),
    [
        (cut, [SHARD.replace("{}", "2")], {"train.npy.shard-2.broken": 23}),
        (
            cut_in_the_first_shard,
            [
                SHARD.replace("{}", "0"),
                *(f"{ARRAY}: shard {n} of 3 is cut off, and it is computed anew" for n in (1, 2)),
            ],
            {"train.npy.shard-0.broken": 12},
        ),
        (flip, [SHARD.replace("{}", "0")], {"train.npy.shard-0.broken": 48}),
        (empty_file, [HEAD], {"train.npy.broken": 0}),
        (other_shape, [HEAD], {"train.npy.broken": 128 + 80}),
        (remove_file, [f"{ARRAY} is gone; all is computed anew"], {}),
        (empty_record, [RECORD], {"train.json.broken": 0}),
        (other_shard_size, [RECORD], {"train.json.broken": None}),
    ],
)
def test_damage_is_named_and_kept(
    damage: Callable[[ShardedArray], None], lines: list[str], kept: dict[str, int | None], array: ShardedArray
) -> None:
    damage(array)
    good = array.verify()
    told = array.set_aside(good)
    assert list(told) == [line.format(path=array.path, record=array.record_path) for line in lines]
    found = {path.name: path.stat().st_size for path in array.path.parent.glob("*.broken")}
    assert set(found) == set(kept)
    assert all(size is None or found[name] == size for name, size in kept.items())
    assert array.verify() == good
    assert array.set_aside(good) == ()  # told once
    array.allocate()
    write(array, *(shard for shard, is_good in enumerate(good) if not is_good))
    np.testing.assert_array_equal(array.load(), ROWS)
    assert array.set_aside(array.verify()) == ()


def test_what_is_merely_unfinished_is_no_damage(tmp_path: Path) -> None:
    array = new(tmp_path)
    assert array.set_aside(array.verify()) == ()
    array.allocate()
    write(array, 1)
    assert array.set_aside(array.verify()) == ()
    assert not list(tmp_path.glob("*.broken"))


def test_no_damaged_byte_of_the_file_goes_unseen(array: ShardedArray) -> None:
    content = array.path.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        array.path.write_bytes(damaged)
        assert not all(array.verify()), position


def test_process_that_maps_a_damaged_file_keeps_its_rows(array: ShardedArray) -> None:
    mapped = array.load()
    os.truncate(array.path, 100)
    os.truncate(array.path, 128 + ROWS.nbytes)  # the header's end is gone, the map still has pages
    array.allocate()
    write(array, 0, 1, 2)
    assert mapped.shape == ROWS.shape
    assert np.array(mapped).sum() == 0  # the old file's zeros, not the new file's rows


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"shape": null}', '{"shape": [1]}', '{"shape": ["a", "b"]}'])
def test_file_without_a_usable_record_is_no_array(array: ShardedArray, text: str) -> None:
    array.record_path.write_text(text)
    with pytest.raises(ValueError):  # noqa: PT011 - the parser of JSON has many
        ShardedArray.find(array.path)


def test_full_disk_is_a_disk_error_and_costs_one_shard(tmp_path: Path) -> None:
    array = new(tmp_path)
    array.allocate()
    write(array, 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))  # the system refuses longer files, as a full disk would
    try:
        with pytest.raises(DiskError, match="can't be written"):
            write(array, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert array.verify() == [True, False, False]
    write(array, 1, 2)
    assert array.verify() == [True, True, True]


def test_folder_removed_while_it_is_written_is_a_disk_error(array: ShardedArray) -> None:
    array.path.unlink()
    with pytest.raises(DiskError, match="was removed"):
        write(array, 1)
