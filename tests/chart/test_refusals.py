"""Values that would break something are refused before anything is installed."""

import pytest

from chart.scenarios import REFUSED
from support.helm import Refused, rendered

# what Helm says of a template that met values it does not know
OF_A_TEMPLATE = ("nil pointer", "wrong type for value", "YAML parse error")


@pytest.mark.parametrize("name", REFUSED)
def test_the_chart_refuses(name: str) -> None:
    refusal = REFUSED[name]

    with pytest.raises(Refused) as refused:
        rendered(refusal.values, presets=refusal.presets, release=refusal.release)

    assert refusal.says in str(refused.value)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_says_what_is_wrong_with_the_values(name: str) -> None:
    refusal = REFUSED[name]

    with pytest.raises(Refused) as refused:
        rendered(refusal.values, presets=refusal.presets, release=refusal.release)

    assert not any(word in str(refused.value) for word in OF_A_TEMPLATE)
