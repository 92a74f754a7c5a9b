"""What has to be right with a path before a database is opened there.

Nothing here opens an existing database file: closing it again would drop every lock that this
process holds on it.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
from pathlib import Path

from taskflow.errors import StoreError

log = logging.getLogger(__name__)

#: File systems whose locks do not hold between hosts, or not at all.
NETWORK_FILE_SYSTEMS = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.cephfs", "fuse.glusterfs",
        "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4",
        "smb3", "smbfs",
    }
)  # fmt: skip
_MOUNTS = Path("/proc/self/mountinfo")


def check_path(path: Path, mounts: Path = _MOUNTS) -> None:
    """Raise `StoreError` if no database can live at ``path``; create the file if it is not there.

    A file made here can be read by its owner only.
    """
    directory = path.parent
    if path.is_dir():
        raise StoreError(f"{path} is a directory: give the path of a file in it")
    if not directory.exists():
        raise StoreError(f"{directory} does not exist: create the directory first, for {path}")
    if not directory.is_dir():
        raise StoreError(f"{directory} is not a directory: {path} cannot be made in it")
    _check_file_system(directory, mounts)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise StoreError(
            f"{directory} is not writable for this user: SQLite needs to make files beside {path}"
        )
    mode = directory.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        log.warning("%s is writable for everybody: anyone can replace %s", directory, path.name)
    try:
        # O_EXCL: an existing file is left unopened.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        if not path.is_file():
            raise StoreError(f"{path} is not a regular file: give another path") from None
        if not os.access(path, os.R_OK | os.W_OK):
            raise StoreError(
                f"{path} is not readable and writable for this user: change its permissions"
            ) from None
    except OSError as error:
        raise StoreError(f"{path} cannot be created: {error.strerror}") from None


def _check_file_system(directory: Path, mounts: Path) -> None:
    kind = file_system(directory, mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"{directory} is on a network file system ({kind}), whose locks cannot be relied on: "
            "put the database on a local disk, or use PostgreSQL"
        )


def file_system(directory: Path, mounts: Path = _MOUNTS) -> str:
    """The type of the file system that ``directory`` lives on, "" where that cannot be told."""
    if sys.platform != "linux":
        return ""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    where = directory.resolve()
    best, kind = -1, ""
    for line in lines:
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        mount = Path(_unescape(fields[4]))
        # A later line with the same mount point covers the earlier one.
        if where.is_relative_to(mount) and len(mount.parts) >= best:
            best, kind = len(mount.parts), after.split(" ", 1)[0]
    return kind


def _unescape(text: str) -> str:
    """The kernel writes space, tab, newline and backslash as octal numbers."""
    for code in ("040", "011", "012", "134"):
        text = text.replace(f"\\{code}", chr(int(code, 8)))
    return text
