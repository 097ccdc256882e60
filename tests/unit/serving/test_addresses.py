import pytest

from order_engine.serving.addresses import client_network


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
