import pytest

from execution.addresses import counted_address


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
def test_an_address_is_one_of_ipv4_or_a_network_of_ipv6(host: str, counted: str) -> None:
    assert counted_address(host) == counted
