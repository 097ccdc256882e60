"""Values that would break a release are refused before it is installed."""

import pytest

from chart.scenarios import REFUSED
from support.helm import Refused, rendered

# errors of Helm for a template that fails on unexpected values
OF_A_TEMPLATE = ("nil pointer", "wrong type for value", "YAML parse error")


@pytest.mark.parametrize("name", REFUSED)
def test_the_chart_refuses(name: str) -> None:
    refusal = REFUSED[name]

    with pytest.raises(Refused) as refused:
        rendered(refusal.values, presets=refusal.presets, release=refusal.release)

    assert refusal.reason in str(refused.value)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_names_the_values_and_not_the_template(name: str) -> None:
    refusal = REFUSED[name]

    with pytest.raises(Refused) as refused:
        rendered(refusal.values, presets=refusal.presets, release=refusal.release)

    assert not any(word in str(refused.value) for word in OF_A_TEMPLATE)
