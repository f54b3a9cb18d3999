"""The queue before the model: order, sizes of batches, refusals, failures, its end."""

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from fashion_tuning.model.classifier import BATCH_SIZE, Prepared
from fashion_tuning.service.batching import Batcher, BusyError


class Slow:
    """Answers with a picture's first pixel, once it may; keeps the sizes of its batches."""

    def __init__(self) -> None:
        self.may, self.began = threading.Event(), threading.Event()
        self.sizes: list[int] = []

    def answer(self, prepared: Sequence[Prepared]) -> np.ndarray:
        self.sizes.append(len(prepared))
        self.began.set()
        assert self.may.wait(10)
        return np.stack([one.pixels[0, 0].astype(np.float32) for one in prepared])


class Broken:
    def answer(self, prepared: Sequence[Prepared]) -> np.ndarray:
        raise ValueError(f"{len(prepared)} too many")


def picture(value: int) -> Prepared:
    return Prepared(np.full((2, 2, 3), value, np.uint8), "")


def test_what_waits_is_answered_together_and_in_order() -> None:
    model, batcher = Slow(), Batcher(capacity=99)
    first = batcher.submit(model, picture(99))
    assert model.began.wait(10)
    found = [batcher.submit(model, picture(number)) for number in range(BATCH_SIZE + 3)]
    model.may.set()
    assert first.result(10)[0] == 99
    assert [one.result(10)[0] for one in found] == list(range(BATCH_SIZE + 3))
    assert model.sizes == [1, BATCH_SIZE, 3]
    batcher.close()


def test_models_never_share_a_batch() -> None:
    one, other, batcher = Slow(), Slow(), Batcher(capacity=99)
    batcher.submit(one, picture(0))
    assert one.began.wait(10)
    found = [batcher.submit(model, picture(number)) for number, model in enumerate((one, one, other, one))]
    one.may.set()
    other.may.set()
    assert [future.result(10)[0] for future in found] == [0, 1, 2, 3]
    assert (one.sizes, other.sizes) == ([1, 2, 1], [1])
    batcher.close()


def test_a_full_queue_refuses_at_once_and_says_for_how_long() -> None:
    batcher = Batcher(capacity=3)
    batcher.take(2)
    with pytest.raises(BusyError) as caught:
        batcher.take(2)
    assert caught.value.seconds > 0
    batcher.take(1)
    batcher.give_back(3)
    batcher.take(3)
    assert batcher.taken == 3
    batcher.close()


def test_a_failure_is_theirs_who_asked() -> None:
    batcher = Batcher(capacity=9)
    with pytest.raises(ValueError, match="1 too many"):
        batcher.submit(Broken(), picture(1)).result(10)
    model = Slow()
    model.may.set()
    assert batcher.submit(model, picture(7)).result(10)[0] == 7
    batcher.close()


def test_the_end_comes_after_what_waits() -> None:
    model, batcher = Slow(), Batcher(capacity=9)
    found = [batcher.submit(model, picture(number)) for number in range(3)]
    model.may.set()
    batcher.close()
    assert not batcher.alive
    assert [one.result(0)[0] for one in found] == [0, 1, 2]


def test_who_went_away_is_not_computed() -> None:
    model, batcher = Slow(), Batcher(capacity=9)
    first = batcher.submit(model, picture(1))
    assert model.began.wait(10)
    gone, stays = batcher.submit(model, picture(2)), batcher.submit(model, picture(3))
    assert gone.cancel()
    model.may.set()
    assert (first.result(10)[0], stays.result(10)[0]) == (1, 3)
    assert model.sizes == [1, 1]
    batcher.close()
