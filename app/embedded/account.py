"""The unprivileged account that PostgreSQL runs under when we are root, which it refuses."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CANDIDATES = ("postgres", "nobody", "daemon")


@dataclass(frozen=True)
class Account:
    """A user to become, and whether it needs a capability to reach the files it works with."""

    uid: int
    gid: int
    needs_reach: bool = False


def unprivileged_account(folder: Path, files: Iterable[Path]) -> Account | None:
    """The account to run a server under that owns `folder` and uses `files`; None = ourselves.

    An existing folder keeps its owner. Folders that only root may pass (a home under /root) are
    no obstacle: the account then keeps the one capability that overrides file permissions.
    Raises LookupError when root has no such account.
    """
    if os.geteuid() != 0:
        return None
    entry = _entry(folder)
    reachable = all(_can_reach(entry.pw_uid, entry.pw_gid, path) for path in (folder, *files))
    return Account(entry.pw_uid, entry.pw_gid, needs_reach=not reachable)


def _entry(folder: Path) -> pwd.struct_passwd:
    if folder.exists() and folder.stat().st_uid != 0:
        return pwd.getpwuid(folder.stat().st_uid)
    for name in CANDIDATES:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise LookupError(f"PostgreSQL cannot run as root, and there is no user {CANDIDATES}")


def _can_reach(uid: int, gid: int, path: Path) -> bool:
    """Whether every folder above `path` may be passed, and an existing file read and run."""
    parents = path.resolve().parents
    if not all(_may(uid, gid, parent, stat.S_IXOTH) for parent in parents if parent.exists()):
        return False
    return path.is_dir() or not path.exists() or _may(uid, gid, path, stat.S_IROTH | stat.S_IXOTH)


def _may(uid: int, gid: int, path: Path, bits: int) -> bool:
    """Whether the permission bits (given as those of others) hold for this user."""
    status = path.stat()
    if status.st_uid == uid:
        bits <<= 6
    elif status.st_gid == gid:
        bits <<= 3
    return status.st_mode & bits == bits
