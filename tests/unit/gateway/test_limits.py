from typing import Any

import pytest

from gateway.limits import RequestLimits, address
from gateway.problems import TooManyRequests


def a_scope(host: str | None) -> dict[str, Any]:
    return {"type": "http", "client": None if host is None else (host, 4711)}


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "20010db800000000/64"),
        ("2001:db8::ffff:1", "20010db800000000/64"),
        ("2001:db8:0:1::1", "20010db800000001/64"),
        ("testclient", "testclient"),
        ("", ""),
        (None, ""),
    ],
)
def test_an_address_is_one_of_ipv4_or_a_network_of_ipv6(host: str | None, counted: str) -> None:
    assert address(a_scope(host)) == counted


def test_what_is_left_is_counted_down_to_a_refusal() -> None:
    limits = RequestLimits(per_address=2, per_key=0)
    left = [limits.take("address", "one")[0].remaining for _ in range(2)]

    assert left == [1, 0]
    with pytest.raises(TooManyRequests) as refused:
        limits.take("address", "one")
    assert 1 <= int(refused.value.headers["Retry-After"]) <= 60


def test_names_are_counted_apart() -> None:
    limits = RequestLimits(per_address=1, per_key=1)
    for who, name in (("address", "one"), ("address", "other"), ("key", "one")):
        [quota] = limits.take(who, name)  # type: ignore[arg-type]

        assert quota.remaining == 0


def test_a_limit_of_zero_counts_nothing() -> None:
    limits = RequestLimits(per_address=0, per_key=0)

    assert [limits.take("address", "one") for _ in range(3)] == [[], [], []]
