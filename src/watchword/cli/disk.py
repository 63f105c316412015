"""What a database's file stands on."""

from __future__ import annotations

import os
import re
from pathlib import Path

MODE = 0o600
_NETWORK = re.compile(
    r"nfs4?|cifs|smb\d?|smbfs|afs|ceph|glusterfs|lustre|9p|ocfs2|gfs2|ncpfs|davfs|beegfs|"
    r"fuse\.(sshfs|s3fs|glusterfs|rclone|davfs2)"
)
_MOUNTS = Path("/proc/self/mountinfo")


def files(database: str) -> list[Path]:
    """The files of a database that are there: itself, its WAL, the limits' counters."""
    names = [database, f"{database}-limits"] if database else []
    every = [Path(name + tail) for name in names for tail in ("", "-wal", "-shm")]
    return [path for path in every if path.is_file()]


def too_open(paths: list[Path]) -> list[Path]:
    """Those that other users of the machine can read or write."""
    return [path for path in paths if path.stat().st_mode & 0o077]


def network_file_system(path: Path, mounts: str | None = None) -> str | None:
    """The type of the network file system that holds `path`, or None.

    SQLite's WAL is shared memory, which no network file system shares.

    Args:
        path: of a file, there or not yet there.
        mounts: the text of mountinfo; by default the kernel's, where there is one.
    """
    if mounts is None:
        if not _MOUNTS.is_file():
            return None
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    here = os.path.realpath(path)
    best, kind = "", ""
    for line in mounts.splitlines():
        before, dash, after = line.partition(" - ")
        if not dash:
            continue
        point = before.split(" ")[4].replace("\\040", " ")
        inside = here == point or here.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # a later mount hides an earlier one
            best, kind = point, after.split(" ")[0]
    return kind if _NETWORK.fullmatch(kind) else None
