"""Runs inside a sandbox: `python -I -S launcher.py MEMORY SECONDS NAMESPACES`, with a program on its stdin.

With NAMESPACES 1, it starts as root of new namespaces and confines itself: every file system becomes read-only, places
with sockets and other users' files are hidden, and all capabilities are dropped permanently.
"""

import ctypes
import os
import resource
import sys

SCRATCH = "/tmp"
HIDDEN = (SCRATCH, "/run", "/var/tmp", "/dev/shm")
SIZE = 64 * 2**20
"""The most bytes that the program may write: in total if it has a file system of its own, else per file."""
LONGEST_SOURCE = 2**20
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 38, 24
MOUNT_SETATTR, AT_RECURSIVE = 442, 0x8000  # the same number on every architecture
RDONLY, NOSUID, NODEV = 1, 2, 4


def main() -> None:
    """Confine this process, write the program to the scratch folder, and execute it in place of this process."""
    memory, seconds, namespaces = (int(argument) for argument in sys.argv[1:4])
    source = sys.stdin.buffer.read(LONGEST_SOURCE)
    libc = ctypes.CDLL(None, use_errno=True)
    if namespaces:
        _isolate(libc)
        os.chdir(SCRATCH)
    for name, most in (
        ("AS", memory),
        ("CPU", seconds + 1),
        ("FSIZE", SIZE),
        ("CORE", 0),
        ("NOFILE", 64),
        ("NPROC", 64),
    ):
        limit = getattr(resource, f"RLIMIT_{name}")
        resource.setrlimit(limit, (most, most))
    with open("program.py", "wb") as file:
        file.write(source)
    nothing, end = os.pipe()
    os.close(end)
    os.dup2(nothing, 0)
    os.execve(sys.executable, [sys.executable, "-I", "-S", "program.py"], {"PATH": "/usr/bin:/bin", "HOME": SCRATCH})


def _isolate(libc: ctypes.CDLL) -> None:
    for place in HIDDEN:
        if os.path.isdir(place) and not os.path.islink(place):
            _check(libc.mount(b"none", place.encode(), b"tmpfs", NOSUID | NODEV, f"size={SIZE}".encode()), place)
    attributes = (ctypes.c_uint64 * 4)(RDONLY | NOSUID | NODEV, 0, 0, 0)
    _check(libc.syscall(MOUNT_SETATTR, -100, b"/", AT_RECURSIVE, attributes, ctypes.sizeof(attributes)), "/")
    writable = (ctypes.c_uint64 * 4)(0, RDONLY, 0, 0)
    _check(libc.syscall(MOUNT_SETATTR, -100, SCRATCH.encode(), 0, writable, ctypes.sizeof(writable)), SCRATCH)
    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # numbers that the kernel does not know give an error
    _check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")


def _check(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), what)


if __name__ == "__main__":
    main()
