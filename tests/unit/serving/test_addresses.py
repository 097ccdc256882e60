import pytest

from order_engine.execution.settings import PublicServerSettings
from order_engine.serving.addresses import client_network, is_loopback, names_this_machine


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "20010db800000000/64"),
        ("2001:db8::ffff:1", "20010db800000000/64"),
        ("2001:db8:0:1::1", "20010db800000001/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_a_client_counts_by_its_ipv4_address_or_ipv6_network(host: str, counted: str) -> None:
    assert client_network(host) == counted


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),  # noqa: S104 - compared, not bound
        ("::", False),
        ("192.0.2.1", False),
        ("engine.example", False),
        ("", False),
    ],
)
def test_the_settings_and_the_server_agree_on_loopback_hosts(host: str, loopback: bool) -> None:
    settings = PublicServerSettings(_env_file=None, host=host, auth="")

    assert is_loopback(host) is settings.is_open is loopback


@pytest.mark.parametrize(
    ("host_header", "named"),
    [
        ("localhost:3000", True),
        ("127.0.0.1", True),
        ("[::1]:3000", True),
        ("localhost.example", False),
        ("engine:3000", False),
        ("[", False),
        ("", False),
    ],
)
def test_a_host_header_names_this_machine(host_header: str, named: bool) -> None:
    assert names_this_machine(host_header) is named
