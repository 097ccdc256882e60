import pytest

from order_engine.serving.origins import is_allowed_origin, is_same_host


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://engine", "engine"),
        ("http://engine", "engine:80"),
        ("http://engine:80", "engine"),
        ("https://engine", "engine"),
        ("https://engine", "engine:443"),
        ("https://Engine.Example", "engine.example"),
        ("http://127.0.0.1:3000", "127.0.0.1:3000"),
        ("http://[::1]:3000", "[::1]:3000"),
    ],
)
def test_a_page_of_the_called_host_is_of_the_same_host(origin: str, host: str) -> None:
    assert is_same_host(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil", "engine"),
        ("http://engine:3001", "engine:3000"),
        ("http://engine", "engine:443"),
        ("https://engine.evil", "engine"),
        ("https://engine@evil", "engine"),
        ("null", "engine"),
        ("null", ""),
        ("", ""),
        ("http://", ""),
        ("http://engine", ""),
        ("file://", ""),
        ("ftp://engine", "engine"),
        ("http://engine:x", "engine:x"),
        ("http://[", "["),
    ],
)
def test_any_other_page_is_of_another_host(origin: str, host: str) -> None:
    assert not is_same_host(origin, host)


@pytest.mark.parametrize(
    ("origins", "is_allowed"),
    [
        ((), False),
        (("https://other.example",), False),
        (("https://other.example", "https://app.example"), True),
        (("*",), True),
    ],
)
def test_a_page_of_another_host_may_call_when_its_origin_is_allowed(
    origins: tuple[str, ...], is_allowed: bool
) -> None:
    assert is_allowed_origin("https://app.example", "engine", origins=origins) is is_allowed


def test_a_page_of_the_called_host_may_always_call() -> None:
    assert is_allowed_origin("http://engine", "engine", origins=())
