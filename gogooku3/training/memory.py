"""The trainer's own memory: a limit that allocations run into, instead of the machine's end."""

from __future__ import annotations

import errno
import re
import resource
from functools import cache
from pathlib import Path

import torch

MIB = 1 << 20
_SIGNS = (
    "can't allocate memory",  # torch's CPU allocator, which has no error class of its own
    "bad_alloc",
    "bad allocation",
    "could not create a memory object",  # oneDNN
    "CUDA out of memory",
    "CUDA error: out of memory",  # outside torch's allocator: pinned memory, the context
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUFFT_ALLOC_FAILED",
)
_NO_STACK = "can't start new thread"


def limit_memory(megabytes: int | None) -> None:
    """Let this process hold so many MiB of memory of its own from now on; None = no limit.

    Own memory is what no file and no other process shares: the mapped dataset does not count. The
    kernel refuses what goes beyond (RLIMIT_DATA), so that an allocation fails and is told of. What
    was reserved but never touched when the first limit was set, such as private mappings of files,
    is left out of the account; what is reserved later counts, under every limit after it too.
    """
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = most
    if megabytes is not None:
        limit = _reserved_bytes() + megabytes * MIB
        if most != resource.RLIM_INFINITY:
            limit = min(limit, most)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


def own_bytes() -> int:
    """Memory of this process that no file and no other process shares."""
    return _status()["RssAnon"]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error tells of memory that could not be had."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if _NO_STACK in str(error):  # for lack of memory for its stack, or of processes
        return resource.getrlimit(resource.RLIMIT_DATA)[0] != resource.RLIM_INFINITY
    return isinstance(error, Exception) and any(sign in str(error) for sign in _SIGNS)


def asked_bytes(error: BaseException) -> int | None:
    """How much the failed allocation asked for, where the error says it."""
    found = re.search(r"tried to allocate (\d+) bytes", str(error))
    return int(found.group(1)) if found else None


@cache
def _reserved_bytes() -> int:
    """Own memory that was reserved and not touched when this was first asked."""
    used = _status()
    return used["VmData"] - used["RssAnon"]


def _status() -> dict[str, int]:
    """Bytes by name, of `VmData` and `RssAnon`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    pairs = (line.split()[:2] for line in lines if line.startswith(("VmData:", "RssAnon:")))
    return {name.rstrip(":"): int(kibibytes) * 1024 for name, kibibytes in pairs}
