"""What a URL may set in the sessions of every process, and what is refused at start."""

import json

import pytest

from order_engine.execution.setting_sources import EngineSettings, read_settings
from order_engine.execution.settings import (
    GatewaySettings,
    MigrateSettings,
    OrderWorkerSettings,
    WsGatewaySettings,
)
from order_engine.execution.stores.session_settings import session_settings, url_settings

URL = "postgresql://user:password@db/orders?"

KEPT = {
    "options=-csearch_path%3Dtenant": {"search_path": "tenant"},
    "options=-c%20search_path%3Dtenant": {"search_path": "tenant"},
    "options=--search_path%3Dtenant": {"search_path": "tenant"},
    "options=--search-path%3Dtenant": {"search_path": "tenant"},
    "options=-csearch_path%3Dtenant%2Cpublic": {"search_path": "tenant,public"},
    "options=-csearch_path%3Dtenant%2C%5C%20public": {"search_path": "tenant, public"},
    "sslmode=disable&options=-cTimeZone%3DAsia%2FTokyo": {"timezone": "Asia/Tokyo"},
    "options=-cwork_mem%3D8MB%20-cjit_above_cost%3D5": {"work_mem": "8MB", "jit_above_cost": "5"},
    "options=%20-c%20%20work_mem%3D8MB%20": {"work_mem": "8MB"},
    "options=-capp.tenant%3Dacme": {"app.tenant": "acme"},
    "options=-csynchronous_commit%3Dremote_apply": {"synchronous_commit": "remote_apply"},
    "options=": {},
    "client_encoding=utf8": {},
    "": {},
}
REFUSED = {
    "client_encoding=LATIN1": "client_encoding must be UTF8",
    "options=-cclient_encoding%3DLATIN1": "sets client_encoding",
    "options=-cstatement_timeout%3D0": "sets statement_timeout",
    "options=-c%20Statement_Timeout%3D0": "sets statement_timeout",
    "options=--lock-timeout%3D0": "sets lock_timeout",
    "options=-cwork_mem%3D8MB%20-cdatestyle%3DGerman": "sets datestyle",
    "options=-cdefault_transaction_read_only%3Don": "sets default_transaction_read_only",
    "options=-cenable_seqscan%3Don": "sets enable_seqscan",
    "options=-cstandard_conforming_strings%3Doff": "sets standard_conforming_strings",
    "options=-ctransaction_read_only%3Don": "sets transaction_read_only",
    "application_name=a#b&options=-cjit%3Don": "sets jit",
    "service=orders": "service is not supported",
    "options=-c%20work_mem": "must consist of -c name=value",
    "options=-fs": "must consist of -c name=value",
    "options=search_path%3Dtenant": "must consist of -c name=value",
}
OF_POSTGRES = (GatewaySettings, OrderWorkerSettings, WsGatewaySettings, MigrateSettings)


@pytest.mark.parametrize("query", KEPT)
def test_what_a_url_sets_is_kept(query: str) -> None:
    assert url_settings(URL + query) == KEPT[query]


@pytest.mark.parametrize("query", REFUSED)
@pytest.mark.parametrize("kind", OF_POSTGRES)
def test_every_process_refuses_what_it_sets_itself_in_one_line(
    query: str, kind: type[EngineSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", URL + query)

    with pytest.raises(SystemExit, match=REFUSED[query]) as refused:
        read_settings(kind)

    assert str(refused.value).startswith("cannot start: DATABASE_URL: ")
    assert "\n" not in str(refused.value)
    assert "password" not in str(refused.value)


def test_the_url_of_the_chain_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", URL)
    monkeypatch.setenv("CHAIN_DATABASE_URL", f"{URL}options=-cstatement_timeout%3D0")

    with pytest.raises(SystemExit, match="CHAIN_DATABASE_URL: options sets statement_timeout"):
        read_settings(OrderWorkerSettings)


@pytest.mark.parametrize(
    ("server_version", "expected"), [(14_00_03, False), (16_00_09, False), (17_00_00, True)]
)
def test_a_server_is_not_sent_settings_that_it_lacks(server_version: int, expected: bool) -> None:
    settings = json.loads(session_settings(URL, of_caller={}, server_version=server_version))

    assert ("transaction_timeout" in settings) is expected
