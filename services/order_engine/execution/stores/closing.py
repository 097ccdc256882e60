import threading
import time
from typing import Protocol

CLOSE_S = 2.0


class Closeable(Protocol):
    def close(self) -> None: ...


def close_together(*parts: Closeable, within_s: float = CLOSE_S) -> None:
    """Closes all at once and returns when they are, or in time without those that hang.

    Those are left to the end of the process: their threads do not keep it.
    """
    threads = [threading.Thread(target=part.close, name="closing", daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + within_s
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
