import pytest

from order_engine.execution.open_mode import is_loopback, names_this_machine
from order_engine.execution.settings import CommonSettings, PublicServerSettings


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("[::1]", True),
        ("LOCALHOST", True),
        ("localhost.", True),
        (" 127.0.0.1 ", True),
        ("::ffff:127.0.0.1", True),
        ("[::ffff:127.0.0.1]", True),
        ("::FFFF:7F00:1", True),
        ("0:0:0:0:0:0:0:1", True),
        ("::1%lo", True),
        ("*", False),
        ("[::]", False),
        ("::ffff:0.0.0.0", False),
        ("::ffff:192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("0.0.0.0", False),  # noqa: S104 - compared, not bound
        ("::", False),
        ("192.0.2.1", False),
        ("engine.example", False),
        ("", False),
    ],
)
def test_only_a_loopback_host_opens_the_engine_without_keys(host: str, loopback: bool) -> None:
    settings = PublicServerSettings(_env_file=None, host=host, auth="")

    assert is_loopback(host) is settings.is_open is loopback


@pytest.mark.parametrize(
    ("host_header", "named"),
    [
        ("localhost:3000", True),
        ("127.0.0.1", True),
        ("[::1]:3000", True),
        ("[::ffff:127.0.0.1]:3000", True),
        ("[::FFFF:7f00:1]", True),
        ("LocalHost", True),
        ("localhost.:3000", True),
        ("[::ffff:192.0.2.1]:3000", False),
        ("*", False),
        ("localhost.example", False),
        ("engine:3000", False),
        ("[", False),
        ("", False),
    ],
)
def test_a_host_header_names_this_machine(host_header: str, named: bool) -> None:
    assert names_this_machine(host_header) is named


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("*", "::"),
        ("[::]", "::"),
        ("[::1]", "::1"),
        (" 10.0.0.1\n", "10.0.0.1"),
        ("FE80::1%eth0", "fe80::1%eth0"),
        ("0.0.0.0", "0.0.0.0"),  # noqa: S104 - compared, not bound
        ("localhost", "localhost"),
    ],
)
def test_a_host_to_listen_on_is_written_as_sockets_take_it(written: str, host: str) -> None:
    assert PublicServerSettings(_env_file=None, host=written).host == host
    assert CommonSettings(_env_file=None, admin_host=written).admin_host == host
