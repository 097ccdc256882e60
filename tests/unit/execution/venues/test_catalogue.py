from dataclasses import fields

import pytest

from order_engine.execution.settings import VenueSettings
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.venues.catalogue import _simulation, venues

URL = "postgresql://nobody@127.0.0.1:1/none"


def test_the_catalogue_has_each_venue_under_its_name() -> None:
    chain = GroupCommit(URL, application_name="test")
    found = venues(VenueSettings(database_url=URL, _env_file=None), chain=chain)
    chain.close()

    assert {name: venue.name for name, venue in found.items()} == {
        "raydium": "raydium",
        "meteora": "meteora",
    }


@pytest.mark.parametrize(
    ("name", "kind"),
    [(field.name, field.type) for field in fields(_simulation.__annotations__["return"])],
)
def test_every_setting_of_the_simulation_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, kind: type
) -> None:
    setting = name if name == "quote_lifetime_s" else f"venue_{name}"
    value = True if kind is bool else 0.875
    monkeypatch.setenv(setting.upper(), str(value))
    monkeypatch.setenv("VENUE_EXECUTION_MIN_S", "0.875")  # not above the highest

    assert getattr(_simulation(VenueSettings(database_url=URL, _env_file=None)), name) == value
