"""Runs a deployable's main in this process, tied to the runner: when that is gone, so is this.

`python -m order_engine.local.tether order_engine.order_worker.main`. Stdin is a pipe whose other end only the runner holds,
so that even its kill -9 leaves no process behind that would hold the port.
"""

import importlib
import os
import sys
import threading


def main() -> None:
    threading.Thread(target=_end_with_the_runner, daemon=True).start()
    sys.argv.pop(0)
    importlib.import_module(sys.argv[0]).main()


def _end_with_the_runner() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)  # at once: a kill -9 costs an order time, never its outcome


if __name__ == "__main__":
    main()
