"""Writes log lines to a stream, many in one call: a call for each line would cost more than the line."""

import atexit
import threading
import time
from collections import deque
from typing import TextIO

WRITE_WITHIN_S = 0.05
LINES_MAX = 10_000  # that wait; beyond, the caller writes them itself


class LogLines:
    """The logger that structlog calls with each rendered line, from any thread.

    Lines below `warning` are written within WRITE_WITHIN_S, by a thread that sleeps while there are
    none. Warnings and worse are written at once, after the lines before them.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: deque[str] = deque()
        self._has_lines = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        atexit.register(self.flush)

    def info(self, line: str) -> None:
        self._waiting.append(line)
        if len(self._waiting) > LINES_MAX:
            self.flush()
        elif not self._has_lines.is_set():
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="logs", daemon=True)
                self._thread.start()
            self._has_lines.set()

    debug = info

    def warning(self, line: str) -> None:
        self._waiting.append(line)
        self.flush()

    error = critical = warning

    def flush(self) -> None:
        with self._lock:
            lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
            if lines:
                self._stream.write("\n".join(lines) + "\n")
                self._stream.flush()

    def _work(self) -> None:
        while True:
            self._has_lines.wait()
            time.sleep(WRITE_WITHIN_S)
            self._has_lines.clear()
            self.flush()
