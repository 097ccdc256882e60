import pytest

from order_engine.gateway.contract.problems import TooManyRequests
from order_engine.gateway.middleware.rate_limits import Quota, RequestLimits


def test_requests_above_the_limit_are_refused() -> None:
    limits = RequestLimits(per_address=2, per_key=0)
    quotas: list[Quota] = []
    for _ in range(2):
        limits.take("address", "one", quotas)

    assert [quota.remaining for quota in quotas] == [1, 0]
    with pytest.raises(TooManyRequests) as refused:
        limits.take("address", "one", quotas)
    assert quotas[-1].remaining == 0
    assert 1 <= int(refused.value.headers["Retry-After"]) <= 60


def test_addresses_and_keys_are_counted_separately() -> None:
    limits = RequestLimits(per_address=1, per_key=1)
    for who, name in (("address", "one"), ("address", "other"), ("key", "one")):
        quotas: list[Quota] = []
        limits.take(who, name, quotas)  # type: ignore[arg-type]
        [quota] = quotas

        assert quota.remaining == 0


def test_a_limit_of_zero_counts_nothing() -> None:
    limits = RequestLimits(per_address=0, per_key=0)

    quotas: list[Quota] = []
    for _ in range(3):
        limits.take("address", "one", quotas)

    assert quotas == []
