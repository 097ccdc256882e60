from uuid import UUID

import pytest

from order_engine.execution.domain.ids import order_id_in

TEXT = "019c0000-0000-7000-8000-000000000abc"


@pytest.mark.parametrize("text", [TEXT, TEXT.upper()])
def test_an_id_is_read_in_lower_and_upper_case(text: str) -> None:
    assert order_id_in(text) == UUID(TEXT)


@pytest.mark.parametrize(
    "text", ["", "42", TEXT.replace("-", ""), f"{{{TEXT}}}", f"urn:uuid:{TEXT}"]
)
def test_no_other_form_is_an_id(text: str) -> None:
    assert order_id_in(text) is None
