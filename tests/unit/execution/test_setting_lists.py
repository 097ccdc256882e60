"""Lists in settings: what is plain is normalised, and what would never match is refused."""

import pytest

from order_engine.execution.setting_lists import origins, proxies
from support.setting_lists import NO_ORIGINS, NO_PROXIES, ORIGINS, PROXIES


@pytest.mark.parametrize("written", PROXIES)
def test_proxies_are_addresses_and_networks(written: str) -> None:
    assert proxies(written) == PROXIES[written]


@pytest.mark.parametrize("written", NO_PROXIES)
def test_a_proxy_that_would_never_match_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is neither an address nor a network"):
        proxies(written)


@pytest.mark.parametrize("written", ORIGINS)
def test_origins_are_as_browsers_send_them(written: str) -> None:
    assert origins(written) == ORIGINS[written]


@pytest.mark.parametrize("written", NO_ORIGINS)
def test_an_origin_that_no_browser_sends_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        origins(written)


def test_the_refusal_of_an_origin_does_not_repeat_a_password() -> None:
    with pytest.raises(ValueError, match="no user and no password") as refused:
        origins("https://user:secret@app.example.com")

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("written", ["0.0.0.0", "::", "10.0.0.1,::", "::/128"])  # noqa: S104 - not bound
def test_the_address_to_listen_on_is_not_taken_for_that_of_any_proxy(written: str) -> None:
    with pytest.raises(ValueError, match=r"write \* or 0.0.0.0/0 for any"):
        proxies(written)
