import random
from dataclasses import dataclass, field

FIRST_PAUSE_MAX_S = 0.1


@dataclass(slots=True, kw_only=True)
class Outage:
    """How long the engine has been away, counted from the first loss after the last message.

    The longest pause doubles up to `pause_max_s`, and each pause is random between zero and that, so
    that clients that lost the engine at the same time do not reconnect at the same time.
    """

    within_s: float
    pause_max_s: float
    _since: float | None = field(default=None, init=False)
    _ceiling_s: float = field(default=FIRST_PAUSE_MAX_S, init=False)

    def end(self) -> None:
        """Call this when a message has arrived."""
        self._since = None
        self._ceiling_s = FIRST_PAUSE_MAX_S

    def next_pause_s(self, *, now: float) -> float | None:
        """Seconds from a loss at `now` to the next attempt; None when `within_s` has passed."""
        if self._since is None:
            self._since = now
        left_s = self._since + self.within_s - now
        if left_s <= 0:
            return None
        ceiling_s = min(self._ceiling_s, self.pause_max_s)
        self._ceiling_s = 2 * ceiling_s
        return min(left_s, random.uniform(0, ceiling_s))  # noqa: S311  # spreads load, not a secret
