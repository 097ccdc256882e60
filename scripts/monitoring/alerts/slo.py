"""Two objectives of the HTTP API, and how fast their error budgets burn.

Each alert uses a long window, so that it is significant, and a short one, so that it ends when the
problem does (Google's SRE Workbook, chapter 5). Hours with few requests do not count: one slow
response would be a large share of them.
"""

from dataclasses import dataclass
from typing import Literal

from monitoring.rule import Alert

REQUESTS_MIN = 100
EXECUTE = '@,route="/api/orders/execute"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """`bad_share` is the share of bad requests in a `{window}`, `allowed` the share in a month."""

    name: str
    severity: Literal["critical", "warning"]
    bad_share: str
    requests: str
    allowed: float
    burn: float
    long: str
    short: str
    summary: str
    description: str


def burning(budget: Budget) -> Alert:
    limit = f"{budget.burn * budget.allowed:.4g}"
    return Alert(
        name=budget.name,
        severity=budget.severity,
        query=f"""
{budget.bad_share.format(window=budget.long)}
> {limit}
and on ()
{budget.bad_share.format(window=budget.short)}
> {limit}
and on ()
sum(increase({budget.requests}[{budget.long}])) >= {REQUESTS_MIN}
""",
        lasting="2m",
        summary=budget.summary,
        description=budget.description,
    )


ERRORS = """(
  sum(rate(order_engine_http_requests_total{{@,code=~"5.."}}[{window}]))
  / sum(rate(order_engine_http_requests_total{{@}}[{window}]))
)"""
SLOW = f"""(
  1
  - sum(rate(order_engine_http_request_seconds_bucket{{{{{EXECUTE},le="0.25"}}}}[{{window}}]))
  / sum(rate(order_engine_http_request_seconds_count{{{{{EXECUTE}}}}}[{{window}}]))
)"""

BUDGETS = (
    Budget(
        name="ErrorBudgetBurnsFast",
        severity="critical",
        bad_share=ERRORS,
        requests="order_engine_http_requests_total{@}",
        allowed=0.001,
        burn=14.4,
        long="1h",
        short="5m",
        summary="{{ $value | humanizePercentage }} of the requests of the last hour got a 5xx",
        description="The objective is 99.9 % without a 5xx. At this rate the budget of a month is used"
        " up in two days.",
    ),
    Budget(
        name="ErrorBudgetBurns",
        severity="warning",
        bad_share=ERRORS,
        requests="order_engine_http_requests_total{@}",
        allowed=0.001,
        burn=6,
        long="6h",
        short="30m",
        summary="{{ $value | humanizePercentage }} of the requests of the last 6 hours got a 5xx",
        description="The objective is 99.9 % without a 5xx. At this rate the budget of a month is used"
        " up in five days.",
    ),
    Budget(
        name="LatencyBudgetBurnsFast",
        severity="critical",
        bad_share=SLOW,
        requests=f"order_engine_http_request_seconds_count{{{EXECUTE}}}",
        allowed=0.01,
        burn=14.4,
        long="1h",
        short="5m",
        summary="{{ $value | humanizePercentage }} of the orders of the last hour took over 250 ms"
        " to be accepted",
        description="The objective is 99 % within 250 ms. At this rate the budget of a month is used up"
        " in two days.",
    ),
    Budget(
        name="LatencyBudgetBurns",
        severity="warning",
        bad_share=SLOW,
        requests=f"order_engine_http_request_seconds_count{{{EXECUTE}}}",
        allowed=0.01,
        burn=6,
        long="6h",
        short="30m",
        summary="{{ $value | humanizePercentage }} of the orders of the last 6 hours took over"
        " 250 ms to be accepted",
        description="The objective is 99 % within 250 ms. At this rate the budget of a month is used up"
        " in five days.",
    ),
)
