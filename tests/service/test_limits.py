"""Token buckets by hand."""

from fashion_tuning.service.limits import Rates


def test_so_many_at_once_and_as_many_within_a_minute() -> None:
    now = [0.0]
    rates = Rates(6, clock=lambda: now[0])
    assert [rates.wait("10.0.0.1") for _ in range(6)] == [0] * 6
    assert rates.wait("10.0.0.1") == 10
    assert rates.wait("10.0.0.2") == 0
    now[0] = 9.0
    assert round(rates.wait("10.0.0.1"), 6) == 1
    now[0] = 10.0
    assert rates.wait("10.0.0.1") == 0
    now[0] = 1000.0
    assert [rates.wait("10.0.0.1") > 0 for _ in range(7)] == [False] * 6 + [True]


def test_a_network_of_version_6_is_one_client() -> None:
    rates = Rates(1, clock=lambda: 0.0)
    assert rates.wait("2001:db8::1") == 0
    assert rates.wait("2001:db8::2") > 0
    assert rates.wait("2001:db8:0:1::1") == 0


def test_no_limit_and_no_end_of_memory() -> None:
    free = Rates(0)
    assert not any(free.wait("a") for _ in range(1000))
    few = Rates(1, capacity=2, clock=lambda: 0.0)
    assert [few.wait(name) for name in ("a", "b", "c", "a")] == [0, 0, 0, 0]
    assert few.wait("c") > 0
