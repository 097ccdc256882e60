import threading
import time

from order_engine.execution.stores.closing import close_together


class Part:
    def __init__(self, *, hangs: bool = False) -> None:
        self.closed = threading.Event()
        self.goes_on = threading.Event()
        if not hangs:
            self.goes_on.set()

    def close(self) -> None:
        self.goes_on.wait(60)
        self.closed.set()


def test_every_part_is_closed() -> None:
    parts = [Part() for _ in range(5)]

    close_together(*parts)

    assert all(part.closed.is_set() for part in parts)


def test_parts_that_hang_cost_one_timeout_and_do_not_stop_the_others() -> None:
    hanging, healthy = [Part(hangs=True) for _ in range(3)], Part()
    begun = time.monotonic()

    close_together(*hanging, healthy, within_s=0.3)

    assert 0.3 <= time.monotonic() - begun < 0.8
    assert healthy.closed.is_set()
    for part in hanging:
        part.goes_on.set()
