import pytest

from order_engine.execution.domain.accounts import bearer_key


@pytest.mark.parametrize("header", ["Bearer oe_x", "bearer oe_x", "BEARER  oe_x "])
def test_a_key_is_shown_as_a_bearer(header: str) -> None:
    assert bearer_key(header) == "oe_x"


@pytest.mark.parametrize("header", ["", "oe_x", "Basic oe_x", "Bearer_oe_x"])
def test_any_other_header_shows_none(header: str) -> None:
    assert bearer_key(header) is None
