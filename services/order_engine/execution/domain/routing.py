from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from order_engine.execution.domain.errors import MinAmountOutUnreachable, NoLiveQuote
from order_engine.execution.domain.quote import AMOUNTS, Quote


def best_quote(quotes: Iterable[Quote], *, client_minimum: Decimal | None, now: datetime) -> Quote:
    """The live quote that pays most; on a tie, the venue first by name.

    Raises NoLiveQuote when no quote is live, and MinAmountOutUnreachable when even the best pays
    less than the client's minimum: its transaction would be rejected, and still cost a fee.
    """
    live = [quote for quote in quotes if now < quote.expires_at]
    if not live:
        raise NoLiveQuote("no venue has a live quote for this pair")
    best = min(live, key=lambda quote: (-quote.effective_price, quote.venue))
    if client_minimum is not None and best.amount_out < client_minimum:
        raise MinAmountOutUnreachable(
            f"the best quote pays {best.amount_out.normalize(AMOUNTS):f}, below minAmountOut {client_minimum:f}"
        )
    return best
