"""Which way the client takes, by the variables that users have."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import pytest

from order_engine.client import EngineClient, EngineUnavailable, ProxyUnusable, RequestRefused
from order_engine.client.errors import StreamRefused
from order_engine.client.proxies import Proxy, proxy_for
from support.forward_proxy import forward_proxy
from unit.client.fake_engine import ORDER_ID, fake_gateway, fake_stream, frames, run
from unit.client.test_api import acknowledged

PROXY = "http://proxy.example:3128"
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ws_proxy", "wss_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def way(url: str, **proxies: str) -> Proxy | None:
    parts = urlsplit(url)
    return proxy_for(
        scheme=parts.scheme, host=parts.hostname or "", port=parts.port, proxies=proxies
    )


PROXIED = {
    "http": ("http://engine.example", {"http": PROXY}),
    "https": ("https://engine.example", {"https": PROXY}),
    "all, for http": ("http://engine.example", {"all": PROXY}),
    "all, for https": ("https://engine.example", {"all": PROXY}),
    "http before all": ("http://engine.example", {"http": PROXY, "all": "socks5://x:1"}),
    "an empty one counts as unset": ("http://engine.example", {"http": "", "all": PROXY}),
    "no scheme": ("http://engine.example", {"http": "proxy.example:3128"}),
    "a slash and blanks": ("http://engine.example", {"http": f" {PROXY}/\n"}),
    "another host in NO_PROXY": ("http://engine.example", {"http": PROXY, "no": "example.com"}),
    "a name that ends alike": ("http://myengine.example", {"http": PROXY, "no": "engine.example"}),
    "another port in NO_PROXY": (
        "http://engine.example",
        {"http": PROXY, "no": "engine.example:1"},
    ),
    "another network": ("http://10.1.2.3", {"http": PROXY, "no": "10.2.0.0/16"}),
    "another family": ("http://[fd00::1]", {"http": PROXY, "no": "10.0.0.0/8"}),
    "a network and a name": ("http://engine.example", {"http": PROXY, "no": "0.0.0.0/0"}),
    "a part of an address": ("http://10.1.2.3", {"http": PROXY, "no": "2.3"}),
    "an address of a private network": ("http://192.168.1.1", {"http": PROXY}),
    "a name that begins like this machine": ("http://localhost.example", {"http": PROXY}),
    "an empty NO_PROXY": ("http://engine.example", {"http": PROXY, "no": " , "}),
}

DIRECT = {
    "no variable": ("http://engine.example", {}),
    "https only, for http": ("http://engine.example", {"https": PROXY}),
    "http only, for https": ("https://engine.example", {"http": PROXY}),
    "ws is no variable": ("http://engine.example", {"ws": PROXY, "wss": PROXY, "socks": PROXY}),
    "star": ("http://engine.example", {"http": PROXY, "no": "*"}),
    "star among others": ("https://engine.example", {"all": PROXY, "no": "a.example, *"}),
    "the name": ("http://engine.example", {"http": PROXY, "no": "engine.example"}),
    "the domain": ("http://engine.example", {"http": PROXY, "no": "example"}),
    "the domain with a dot": ("http://a.engine.example", {"http": PROXY, "no": ".engine.example"}),
    "the domain with a star": (
        "http://a.engine.example",
        {"http": PROXY, "no": "*.engine.example"},
    ),
    "capitals": ("http://engine.example", {"http": PROXY, "no": "Engine.EXAMPLE"}),
    "blanks": ("http://engine.example", {"http": PROXY, "no": "a.example  engine.example"}),
    "a dot at the end": ("http://engine.example.", {"http": PROXY, "no": "engine.example"}),
    "the port": ("http://engine.example:3000", {"http": PROXY, "no": "engine.example:3000"}),
    "the default port": ("https://engine.example", {"https": PROXY, "no": "engine.example:443"}),
    "the address": ("http://10.1.2.3", {"http": PROXY, "no": "10.1.2.3"}),
    "CIDR": ("http://10.1.2.3", {"http": PROXY, "no": "192.168.0.0/16,10.0.0.0/8"}),
    "CIDR with bits of the host": ("http://10.1.2.3:3000", {"http": PROXY, "no": "10.1.2.1/24"}),
    "CIDR of IPv6": ("http://[fd00::1]:3000", {"http": PROXY, "no": "fd00::/8"}),
    "CIDR of IPv6 in brackets": ("http://[fd00::1]", {"http": PROXY, "no": "[fd00::]/8"}),
    "IPv6": ("http://[fd00::1]", {"http": PROXY, "no": "fd00:0::1"}),
    "IPv6 with a port": ("http://[fd00::1]:3000", {"http": PROXY, "no": "[fd00::1]:3000"}),
    "IPv4 as IPv6": ("http://[::ffff:10.1.2.3]", {"http": PROXY, "no": "10.0.0.0/8"}),
}

THIS_MACHINE = [
    *("http://127.0.0.1:3000", "http://127.8.9.1", "https://127.0.0.1", "http://127.1"),
    *("http://localhost:3000", "http://LOCALHOST", "http://localhost.", "http://app.localhost"),
    *(
        "http://[::1]:3000",
        "https://[::1]",
        "http://[::ffff:127.0.0.1]",
        "http://[0:0:0:0:0:0:0:1]",
    ),
    *("http://0.0.0.0:3000", "http://[::]:3000", "http://ip6-localhost:3000"),
]

UNUSABLE = {
    "socks5h": "socks5h://127.0.0.1:1",
    "socks5": "socks5://user:hunter2@proxy.example:1080",
    "socks4": "socks4://proxy.example",
    "ftp": "ftp://proxy.example",
    "no host": "http://",
    "no host, a port": "http://:3128",
    "two slashes": "//proxy.example:3128",
    "letters as the port": "http://proxy.example:http",
    "a port that does not exist": "http://proxy.example:99999",
    "an open bracket": "http://[::1",
    "blanks inside": "http://proxy example:3128",
    "punctuation": ":::",
    "a comment": "# http://proxy.example",
}


@pytest.mark.parametrize(("url", "proxies"), PROXIED.values(), ids=PROXIED.keys())
def test_a_proxy_leads_to_the_engine(url: str, proxies: Mapping[str, str]) -> None:
    assert way(url, **proxies) == Proxy(url=PROXY, name=PROXY)


@pytest.mark.parametrize(("url", "proxies"), DIRECT.values(), ids=DIRECT.keys())
def test_the_engine_is_reached_directly(url: str, proxies: Mapping[str, str]) -> None:
    assert way(url, **proxies) is None


@pytest.mark.parametrize("url", THIS_MACHINE)
@pytest.mark.parametrize("given", [PROXY, "socks5h://127.0.0.1:1", ":::"])
def test_this_machine_is_reached_directly(url: str, given: str) -> None:
    assert way(url, http=given, https=given, all=given, no="") is None


@pytest.mark.parametrize("given", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_a_proxy_that_cannot_be_used_is_one_line(given: str) -> None:
    with pytest.raises(ProxyUnusable) as refused:
        way("http://engine.example", all=given)

    text = str(refused.value)
    assert "ALL_PROXY" in text
    assert "list engine.example in NO_PROXY" in text
    assert "\n" not in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("given", "url", "name"),
    [
        ("http://u:p@proxy.example", "http://u:p@proxy.example:80", "http://proxy.example:80"),
        ("http://u:p@w@p:1", "http://u:p%40w@p:1", "http://p:1"),
        ("http://u%40:p%2Fw@p:1", "http://u%40:p%2Fw@p:1", "http://p:1"),
        ("http://u@p:1", "http://u:@p:1", "http://p:1"),
        ("https://proxy.example", "https://proxy.example:443", "https://proxy.example:443"),
        ("http://[::1]:3128", "http://[::1]:3128", "http://[::1]:3128"),
    ],
)
def test_credentials_are_for_the_proxy_and_not_for_messages(
    given: str, url: str, name: str
) -> None:
    assert way("http://engine.example", http=given) == Proxy(url=url, name=name)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("user", ["", "ann:secret"])
def test_requests_and_streams_take_the_same_way(
    variable: str, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with (
            fake_gateway(acknowledged()) as gateway,
            fake_stream(frames(1, 2, 3, 4, 5)) as stream,
            forward_proxy(
                {
                    "engine.example": urlsplit(gateway.url).netloc,
                    "streams.example:80": urlsplit(stream.url).netloc,
                },
                user=user,
            ) as proxy,
        ):
            monkeypatch.setenv(variable, proxy.url)
            async with EngineClient(
                "http://engine.example", stream_base_url="http://streams.example"
            ) as engine:
                await engine.place_order(
                    token_in="SOL", token_out="USDC", amount_in="1", slippage_tolerance=0.5
                )
                followed = await engine.follow(ORDER_ID)

            assert [frame.seq for frame in followed] == [1, 2, 3, 4, 5]
            assert proxy.asked == [
                "POST http://engine.example/api/orders/execute HTTP/1.1",
                "CONNECT streams.example:80 HTTP/1.1",
            ]

    run(work())


def test_lower_case_counts_before_upper_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks5h://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", PROXY)

    EngineClient("http://engine.example")


def test_requests_and_streams_to_this_machine_are_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        for variable in ("HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(variable, "socks5h://127.0.0.1:1")
        async with (
            fake_gateway(acknowledged()) as gateway,
            fake_stream(frames(1, 2, 3, 4, 5)) as stream,
            EngineClient(gateway.url, stream_base_url=stream.url) as engine,
        ):
            await engine.place_order(
                token_in="SOL", token_out="USDC", amount_in="1", slippage_tolerance=0.5
            )
            assert len(await engine.follow(ORDER_ID)) == 5

    run(work())


@pytest.mark.parametrize("status", [403, 407])
def test_a_proxy_that_refuses_ends_the_call_and_the_stream(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with forward_proxy(refuses_with=status) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            async with EngineClient("http://engine.example") as engine:
                with pytest.raises(RequestRefused) as request:
                    await engine.health()
                with pytest.raises(
                    StreamRefused, match=f"proxy rejected connection: HTTP {status}"
                ):
                    await engine.follow(ORDER_ID)

            assert request.value.status == status

    run(work())


def test_a_proxy_that_does_not_answer_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work() -> None:
        async with forward_proxy() as proxy:
            port = urlsplit(proxy.url).port
        monkeypatch.setenv("http_proxy", f"http://ann:secret@127.0.0.1:{port}")
        async with EngineClient("http://engine.example") as engine:
            with pytest.raises(EngineUnavailable) as unavailable:
                await engine.health()

        assert f"through the proxy http://127.0.0.1:{port}:" in str(unavailable.value)
        assert "secret" not in str(unavailable.value)

    run(work())
