"""What is wrong with a path is said before anything is opened there."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from taskflow.errors import StoreError
from taskflow.stores.sqlite.checks import check_path, file_system


def mounts(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text("".join(line + "\n" for line in lines))
    return path


def test_a_new_file_can_be_read_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"

    check_path(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_existing_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    path.write_bytes(b"something")
    path.chmod(0o640)

    check_path(path)

    assert path.read_bytes() == b"something"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ("", "is a directory: give the path of a file in it"),
        ("missing/tasks.db", "missing does not exist: create the directory first"),
        ("file/tasks.db", "file is not a directory"),
        ("socket", "is not a regular file"),
    ],
)
def test_a_path_where_no_file_can_be_is_refused(tmp_path: Path, where: str, complaint: str) -> None:
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))

        with pytest.raises(StoreError, match=complaint) as caught:
            check_path(tmp_path / where)

    assert str(tmp_path) in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_and_a_file_without_write_permission_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tasks.db").touch(mode=0o400)
    with pytest.raises(StoreError, match="is not readable and writable"):
        check_path(tmp_path / "tasks.db")

    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="is not writable for this user"):
        check_path(tmp_path / "other.db")


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a file system without files")
def test_a_place_that_takes_no_files_is_refused_even_for_root() -> None:
    with pytest.raises(StoreError, match=r"cannot be created|not writable"):
        check_path(Path("/sys/kernel/tasks.db"))


def test_a_directory_that_everybody_may_write_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o777)
    check_path(tmp_path / "open.db")
    assert "anyone can replace open.db" in caplog.text

    caplog.clear()
    tmp_path.chmod(0o1777)  # as /tmp: only the owner of a file may replace it
    check_path(tmp_path / "sticky.db")
    assert caplog.text == ""


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p"])
def test_a_network_file_system_is_refused_with_the_way_out(tmp_path: Path, kind: str) -> None:
    found = mounts(
        tmp_path,
        "1 0 0:1 / / rw - ext4 /dev/a rw",
        f"2 1 0:2 / {tmp_path} rw shared:1 - {kind} server:/x rw",
    )

    with pytest.raises(StoreError, match=rf"network file system \({kind}\).*local disk"):
        check_path(tmp_path / "tasks.db", found)

    assert not (tmp_path / "tasks.db").exists()


@pytest.mark.parametrize("kind", ["ext4", "overlay", "tmpfs", "btrfs"])
def test_a_local_file_system_is_fine(tmp_path: Path, kind: str) -> None:
    check_path(tmp_path / "tasks.db", mounts(tmp_path, f"1 0 0:1 / / rw - {kind} x rw"))


def test_the_innermost_and_latest_mount_counts(tmp_path: Path) -> None:
    inner = tmp_path / "with space"
    inner.mkdir()
    found = mounts(
        tmp_path,
        f"3 1 0:3 / {str(inner).replace(' ', chr(92) + '040')} rw - ext4 /dev/b rw",
        "1 0 0:1 / / rw - tmpfs x rw",
        f"2 1 0:2 / {tmp_path} rw - nfs server:/x rw",
        f"4 1 0:2 / {tmp_path} rw - xfs /dev/c rw",
        f"5 1 0:2 / {tmp_path}2 rw - nfs server:/y rw",
        "nonsense",
    )

    assert file_system(inner, found) == "ext4"
    assert file_system(tmp_path, found) == "xfs"
    assert file_system(tmp_path, tmp_path / "nothing") == ""
