"""The medians of the peer in a run of 2026-11-27, for machines without the peer.

They come from another machine and hour, so a ratio to them is a hint and never fails a run.
"""

from collections.abc import Mapping

PEER_MEDIANS: Mapping[str, Mapping[str, float]] = {
    "intake, 1 connections": {
        "accepted/s": 1433,
        "p99 ms": 2.67,
        "CPU ms": 0.5829,
        "of it app": 0.3302,
        "of it PostgreSQL": 0.1145,
        "of it Redis": 0.1382,
    },
    "intake, 16 connections": {
        "accepted/s": 4883,
        "p99 ms": 7.589,
        "CPU ms": 0.3047,
        "of it app": 0.1333,
        "of it PostgreSQL": 0.09675,
        "of it Redis": 0.07464,
    },
    "intake, 64 connections": {
        "accepted/s": 5032,
        "p99 ms": 24.88,
        "CPU ms": 0.2961,
        "of it app": 0.1277,
        "of it PostgreSQL": 0.09355,
        "of it Redis": 0.07481,
    },
    "5,000 preloaded orders, 50 slots": {
        "orders/s": 781.9,
        "CPU ms": 2.259,
        "of it app": 0.904,
        "of it PostgreSQL": 0.678,
        "of it Redis": 0.677,
        "chain apart": 0,
    },
    "orders one by one": {
        "CPU ms": 5.75,
    },
    "commit to frame, 50 orders/s": {
        "p50 ms": 1.931,
        "p99 ms": 7.038,
        "out of order": 2.5,
        "missed": 0,
        "doubled": 0,
    },
    "commit to frame, 200 orders/s": {
        "p50 ms": 2.576,
        "p99 ms": 69.41,
        "out of order": 146,
        "missed": 0,
        "doubled": 0,
    },
    "idle": {
        "% of a core": 1.25,
        "with servers": 2,
        "commands/s": 11.4,
        "MB": 75.03,
    },
}
