"""The venues that the settings ask for."""

import random
from collections.abc import Mapping
from decimal import Decimal

from order_engine.execution.domain.quote import VenueName
from order_engine.execution.domain.venue import Venue
from order_engine.execution.settings import VenueSettings
from order_engine.execution.stores.group_commit import GroupCommit
from order_engine.execution.venues.simulated.market import SimulatedMarket
from order_engine.execution.venues.simulated.venue import SimulationSettings, simulated_venues


def venues(settings: VenueSettings, *, chain: GroupCommit) -> Mapping[VenueName, Venue]:
    """Every venue by its name. `chain` is the connection to the simulated chain's ledger."""
    return simulated_venues(
        chain,
        _simulation(settings),
        market=SimulatedMarket(
            seed=settings.venue_seed or 0, volatility=Decimal(repr(settings.venue_volatility))
        ),
        rng=random.Random(settings.venue_seed),  # noqa: S311 - a simulation, not a secret
    )


def _simulation(settings: VenueSettings) -> SimulationSettings:
    return SimulationSettings(
        quote_latency_s=settings.venue_quote_latency_s,
        quote_jitter_s=settings.venue_quote_jitter_s,
        execution_min_s=settings.venue_execution_min_s,
        execution_max_s=settings.venue_execution_max_s,
        validity_s=settings.venue_validity_s,
        quote_lifetime_s=settings.quote_lifetime_s,
        price_drift_max=settings.venue_price_drift_max,
        price_board=settings.venue_price_board,
        call_failure_share=settings.venue_call_failure_share,
        lost_reply_share=settings.venue_lost_reply_share,
        never_lands_share=settings.venue_never_lands_share,
        rejection_share=settings.venue_rejection_share,
    )
