import pytest

from order_engine.serving.bearer import bearer_key


@pytest.mark.parametrize("header", ["Bearer oe_x", "bearer oe_x", "BEARER  oe_x "])
def test_the_key_of_a_bearer_header(header: str) -> None:
    assert bearer_key(header) == "oe_x"


@pytest.mark.parametrize("header", ["", "oe_x", "Basic oe_x", "Bearer_oe_x"])
def test_any_other_header_has_no_key(header: str) -> None:
    assert bearer_key(header) is None
