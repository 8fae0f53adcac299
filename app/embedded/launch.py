"""Becomes a server process: in its own session, without root, and gone when its parent is gone.

A script run by path (`python -I -S launch.py OPTIONS -- COMMAND...`), standard library only: it
does between fork and exec what is not safe to do in a `preexec_fn` of a threaded process. The
process keeps its id through `exec`, so the caller's child is the server itself.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAPABILITY_VERSION_3 = 0x20080522


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapabilitySet(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def main(arguments: list[str]) -> None:
    """Apply the options, then replace this process by the command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True, help="die when this process does")
    parser.add_argument("--signal", type=int, required=True, help="signal sent on its death")
    parser.add_argument("--uid", type=int)
    parser.add_argument("--gid", type=int)
    parser.add_argument("--reach", action="store_true", help="keep access to root-only folders")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)

    libc = ctypes.CDLL(None, use_errno=True)
    os.setsid()
    # The parent may ignore signals (nohup, a shell's background job); the server must not inherit.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o077)
    if options.uid is not None:
        _become(libc, options.uid, options.gid, reach=options.reach)
    if sys.platform == "linux":
        # After the change of user, which clears it. The kernel watches the parent's *thread*.
        _call(libc, "prctl", PR_SET_PDEATHSIG, options.signal, 0, 0, 0)
        if os.getppid() != options.parent:
            raise SystemExit("the parent was gone before the server started")
    os.execv(options.command[0], options.command)


def _become(libc: ctypes.CDLL, uid: int, gid: int, *, reach: bool) -> None:
    """Become another user; with `reach`, one that may still pass folders only root may pass."""
    if reach:
        _call(libc, "prctl", PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if not reach:
        return
    # Ambient capabilities survive exec of an ordinary program, so the server keeps this one only.
    bit = 1 << CAP_DAC_OVERRIDE
    header = _CapabilityHeader(CAPABILITY_VERSION_3, 0)
    sets = (_CapabilitySet * 2)(_CapabilitySet(bit, bit, bit), _CapabilitySet(0, 0, 0))
    _call(libc, "capset", ctypes.byref(header), sets)
    _call(libc, "prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


def _call(libc: ctypes.CDLL, name: str, *arguments: object) -> None:
    if getattr(libc, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}{arguments}: {os.strerror(error)}")


if __name__ == "__main__":
    main(sys.argv[1:])
