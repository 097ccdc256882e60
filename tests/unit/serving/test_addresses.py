import pytest
from uvicorn.middleware.proxy_headers import _TrustedHosts

from order_engine.serving.addresses import client_network, in_both_forms, plain_address
from order_engine.serving.peers import Peers


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:C000:201", "192.0.2.1"),
        ("0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "20010db800000000/64"),
        ("2001:DB8::ffff:1", "20010db800000000/64"),
        ("2001:db8:0:1::1", "20010db800000001/64"),
        ("fe80::1%eth0", "fe80000000000000/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_a_client_counts_by_its_ipv4_address_or_ipv6_network(host: str, counted: str) -> None:
    assert client_network(host) == counted


@pytest.mark.parametrize(
    ("host", "plain"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::FFFF:7F00:1", "127.0.0.1"),
        ("::1", "::1"),
        ("FE80::1%eth0", "fe80::1"),
        ("2001:DB8::A", "2001:db8::a"),
        ("a.sock", "a.sock"),
    ],
)
def test_an_address_is_written_in_one_way(host: str, plain: str) -> None:
    assert plain_address(host) == plain


@pytest.mark.parametrize(
    ("proxies", "host"),
    [
        (["10.0.0.0/8"], "10.1.2.3"),
        (["10.0.0.0/8"], "::ffff:10.1.2.3"),
        (["10.0.0.0/8"], "::FFFF:A01:203"),
        (["127.0.0.1"], "::ffff:127.0.0.1"),
        (["0.0.0.0/0"], "::ffff:192.0.2.1"),
        (["fe80::/10"], "fe80::1%eth0"),
        (["2001:DB8::/32"], "2001:db8::1"),
        (["*"], "192.0.2.1"),
    ],
)
def test_a_proxy_is_trusted_in_both_forms_of_its_address(proxies: list[str], host: str) -> None:
    assert host in _TrustedHosts(list(in_both_forms(proxies)))


@pytest.mark.parametrize(
    ("proxies", "host"),
    [
        (["10.0.0.0/8"], "::ffff:11.0.0.1"),
        (["127.0.0.1"], "::1"),
        (["0.0.0.0/0"], "2001:db8::1"),
        (["2001:db8::/32"], "10.0.0.1"),
        (["nginx"], "10.0.0.1"),
        ([], "::ffff:127.0.0.1"),
    ],
)
def test_another_address_is_not_trusted(proxies: list[str], host: str) -> None:
    assert host not in _TrustedHosts(list(in_both_forms(proxies)))


@pytest.mark.parametrize("host", ["192.0.2.1", "::ffff:192.0.2.1", "::FFFF:C000:0201"])
def test_both_forms_of_an_address_are_one_peer(host: str) -> None:
    peers = Peers(each_max=1, trusted_proxies=())
    peers.enter("192.0.2.1")

    assert peers.has_too_many(peers.enter(host))
