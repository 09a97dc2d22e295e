"""Rotation and reading of logs, also in directories that a tenant owns."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nagaya.runtime.local.logs import open_log, rotate, tail


def test_a_long_log_is_copied_and_emptied_while_its_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    writer = open_log(path, 10, 1)
    os.write(writer, b"0123456789ab\n")
    assert rotate(path, 10, 1, below=tmp_path)
    os.write(writer, b"next\n")
    os.close(writer)
    assert path.read_text() == "next\n"
    assert (tmp_path / "a.log.1").read_text() == "0123456789ab\n"
    assert not rotate(path, 10, 1, below=tmp_path)
    assert (path.stat().st_mode & 0o777) == 0o600


def test_the_last_lines_are_returned(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("".join(f"{number}\n" for number in range(100)))
    assert tail(tmp_path / "a.log", 2, below=tmp_path) == ["98", "99"]
    assert tail(tmp_path / "a.log", 0, below=tmp_path) == []
    assert tail(tmp_path / "b.log", 2, below=tmp_path) == []
    assert tail(tmp_path / "none" / "b.log", 2, below=tmp_path) == []
    assert not rotate(tmp_path / "none" / "b.log", 2, 1, below=tmp_path)


@pytest.mark.parametrize("planted", ["file", "directory", "hardlink", "fifo"])
def test_links_that_a_tenant_plants_lead_nowhere(tmp_path: Path, planted: str) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "tenant.log").write_text("secret\n" * 100)
    log = tmp_path / "t" / "log"
    log.parent.mkdir()
    if planted == "directory":
        log.symlink_to(secret)
    else:
        log.mkdir()
        if planted == "file":
            (log / "tenant.log").symlink_to(secret / "tenant.log")
        elif planted == "hardlink":
            os.link(secret / "tenant.log", log / "tenant.log")
        else:
            os.mkfifo(log / "tenant.log")
    assert tail(log / "tenant.log", 5, below=tmp_path) == []
    assert not rotate(log / "tenant.log", 5, 1, below=tmp_path)
    assert (secret / "tenant.log").read_text() == "secret\n" * 100


def test_of_a_log_of_absurd_size_only_the_end_is_copied(tmp_path: Path) -> None:
    path = tmp_path / "tenant.log"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
        stream.seek(0, os.SEEK_END)
        stream.write(b"end\n")
    assert rotate(path, 1024, 1, below=tmp_path)
    assert (tmp_path / "tenant.log.1").stat().st_size == 2 * 1024
    assert (tmp_path / "tenant.log.1").read_bytes().endswith(b"end\n")
    assert path.stat().st_size == 0
