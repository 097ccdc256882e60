"""Runs the main of a deployable in this process, and ends with the runner that started it.

`python -m order_engine.local.tether order_engine.order_worker.main`. The other end of stdin, a pipe, is held by the runner
alone. When the runner ends, even by kill -9, stdin closes and this process ends too.
"""

import importlib
import os
import sys
import threading


def main() -> None:
    threading.Thread(target=_exit_when_stdin_closes, daemon=True).start()
    sys.argv.pop(0)
    importlib.import_module(sys.argv[0]).main()


def _exit_when_stdin_closes() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)  # at once; like kill -9, it costs an order time and nothing else


if __name__ == "__main__":
    main()
