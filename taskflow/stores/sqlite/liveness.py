"""Which instances are alive: each holds a lock on a file of its own for as long as it runs.

The kernel drops the lock with the process, however that ends, so a lock that can be taken proves a
death. This is true between processes of one host, and only there.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, unquote

from taskflow.errors import StoreError, StoreUnavailableError
from taskflow.stores.sqlite.forks import FORKS

#: Seconds a start waits for a lock that somebody only tries.
_PATIENCE = 0.5


class Dead:
    """Instances that are dead for sure, and the locks that keep others from finding them too."""

    def __init__(self) -> None:
        self.instances: list[str] = []
        self._files: list[tuple[Path, int]] = []

    def add(self, instance: str, path: Path, descriptor: int | None) -> None:
        """``descriptor`` holds the lock of the instance's file, None if there is no file."""
        self.instances.append(instance)
        if descriptor is not None:
            self._files.append((path, descriptor))

    def release(self, *, forget: bool) -> None:
        """Let go of the locks; ``forget`` removes the files, still under their locks."""
        for path, descriptor in self._files:
            if forget and _is_same(path, descriptor):
                path.unlink(missing_ok=True)
            os.close(descriptor)
        self._files.clear()


class Liveness:
    """The lock of this instance, and a look at those of the others."""

    def __init__(self, directory: Path, instance: str) -> None:
        self._directory = directory
        self._instance = instance
        self._path = self._file_of(instance)
        self._descriptor = -1

    def _file_of(self, instance: str) -> Path:
        # No name may lead out of the directory.
        return self._directory / (quote(instance, safe="") + ".lock")

    def hold(self) -> None:
        """Show that this instance lives. Also mends what somebody removed meanwhile."""
        if self._descriptor >= 0 and _is_same(self._path, self._descriptor):
            return
        try:
            self._hold()
        except OSError as error:
            raise StoreUnavailableError(
                f"{error.filename} cannot be made ({error.strerror}): it shows that this process "
                "is alive"
            ) from error

    def _hold(self) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        until = time.monotonic() + _PATIENCE
        while (descriptor := _take(self._path, create=True)) is None:
            # A sibling looking for the dead may have taken a file that had no lock yet.
            if time.monotonic() < until:
                time.sleep(0.005)
                continue
            raise StoreError(
                f"instance {self._instance!r} is running already on this database: "
                "every process needs a name of its own"
            )
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor
        FORKS.add(self)

    @property
    def held(self) -> bool:
        """Whether this instance shows that it lives."""
        return self._descriptor >= 0

    def find_dead(self, known: Iterable[str]) -> Dead:
        """Those of ``known``, and of the files that are there, whose lock is free.

        The caller gives the locks back with `Dead.release`.
        """
        dead = Dead()
        left = {unquote(path.name[:-5]) for path in self._directory.glob("*.lock")}
        for instance in sorted({*known, *left} - {self._instance}):
            path = self._file_of(instance)
            try:
                descriptor = _take(path, create=False)
            except FileNotFoundError:
                dead.add(instance, path, None)
                continue
            if descriptor is not None:
                dead.add(instance, path, descriptor)
        return dead

    def close(self) -> None:
        """Stop being alive. Idempotent."""
        FORKS.discard(self)
        if self._descriptor < 0:
            return
        if _is_same(self._path, self._descriptor):
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1

    def abandon(self) -> None:
        """Be dead from now on, for everybody to see."""
        FORKS.discard(self)
        self.forked()

    def forked(self) -> None:
        """In a forked child: let go, or the parent would seem alive for ever."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _take(path: Path, *, create: bool) -> int | None:
    """An open descriptor that holds the lock of ``path``; None if somebody else has it."""
    while True:
        flags = os.O_RDWR | (os.O_CREAT if create else 0)
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        # Between opening and locking, the holder may have removed the file.
        if _is_same(path, descriptor):
            return descriptor
        os.close(descriptor)


def _is_same(path: Path, descriptor: int) -> bool:
    try:
        there = path.stat()
    except OSError:
        return False
    here = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
