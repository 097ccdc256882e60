"""Values that would break something are refused before anything is installed."""

import pytest

from chart.scenarios import REFUSED
from support.helm import Refused, rendered


@pytest.mark.parametrize("name", REFUSED)
def test_the_chart_refuses(name: str) -> None:
    refusal = REFUSED[name]

    with pytest.raises(Refused) as refused:
        rendered(refusal.values, presets=refusal.presets)

    assert refusal.says in str(refused.value)
