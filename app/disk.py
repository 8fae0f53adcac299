"""How much room a disk has left."""

from __future__ import annotations

import shutil
from pathlib import Path

LOW_BYTES = 2 * 2**30
LOW_SHARE = 0.05


def low_disk(folder: Path) -> str | None:
    """In words, when a folder's disk has less than 2 GiB or 5 % left, whichever is less; else None.

    A folder that cannot be looked at is told, too.
    """
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return f"{folder} cannot be looked at: {error.strerror}"
    if usage.free >= min(LOW_BYTES, LOW_SHARE * usage.total):
        return None
    share = usage.free / usage.total
    return f"{usage.free / 2**20:.0f} MiB ({share:.1%}) left for {folder}"
