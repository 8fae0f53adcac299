"""Whether the kernel ended processes for lack of memory, without a word of theirs."""

from __future__ import annotations

from pathlib import Path

VMSTAT = Path("/proc/vmstat")


def oom_kills(vmstat: Path = VMSTAT) -> int:
    """Processes that the kernel has killed for memory since it started, those of limited groups
    included; 0 where that is not told."""
    try:
        lines = vmstat.read_text().splitlines()
    except OSError:  # not Linux, or hidden from us: then nothing is known
        return 0
    counts = (int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return next(counts, 0)
