import threading
import time
from typing import Protocol

CLOSE_S = 2.0


class Closeable(Protocol):
    def close(self) -> None: ...


def close_together(*parts: Closeable, within_s: float = CLOSE_S) -> None:
    """Closes all parts at the same time; waits for them at most `within_s`.

    A part that hangs is abandoned. Its daemon thread does not keep the process alive.
    """
    threads = [threading.Thread(target=part.close, name="closing", daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + within_s
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
