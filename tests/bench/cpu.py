"""CPU time of process trees and threads, from /proc."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStat:
    parent: int
    own_s: float
    reaped_s: float  # of children that have ended


def process_stat(pid: int) -> ProcessStat | None:
    """None when the process has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    ticks = [int(fields[number]) for number in (11, 12, 13, 14)]
    return ProcessStat(
        parent=int(fields[1]),
        own_s=(ticks[0] + ticks[1]) / TICKS_PER_S,
        reaped_s=(ticks[2] + ticks[3]) / TICKS_PER_S,
    )


def tree_cpu_s(roots: Iterable[int]) -> float:
    """User and system time of the processes, their children, and the children that have ended."""
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    stats = {pid: stat for pid in pids if (stat := process_stat(pid))}
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(stat.parent, []).append(pid)
    total, pending = 0.0, list(roots)
    while pending:
        pid = pending.pop()
        if pid in stats:
            total += stats[pid].own_s + stats[pid].reaped_s
        pending += children.get(pid, [])
    return total


def resident_bytes(pids: Iterable[int]) -> int:
    """Proportional set size: pages that processes share count once."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total
