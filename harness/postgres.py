"""A PostgreSQL server of its own, for tests and proofs: fast, on loopback, and gone when whoever started it is gone."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

ROLE = "nagaya"
PR_SET_PDEATHSIG = 1
START_SECONDS = 60.0
SETTINGS = {
    # Nothing here has to survive a power cut.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "autovacuum": "off",
    "timezone": "Pacific/Chatham",  # An odd zone, so that whoever forgets to name one is found out.
    "log_min_messages": "fatal",
}
_libc = ctypes.CDLL(None, use_errno=True)


class PostgresMissing(Exception):
    """There is no PostgreSQL server on this machine; the text says so."""


def programs() -> Path:
    """Returns the directory with `initdb` and `postgres`, of the newest version that is installed.

    Raises:
        PostgresMissing: Neither Debian's place nor PATH has them.
    """
    debian = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if debian:
        return max(debian, key=lambda path: int(path.parent.name) if path.parent.name.isdecimal() else 0)
    if (found := shutil.which("initdb")) and shutil.which("postgres"):
        return Path(found).resolve().parent
    raise PostgresMissing("PostgreSQL is not installed (Debian, Ubuntu: apt-get install postgresql)")


def _die_with_parent() -> None:
    # Runs after the change of user, which would forget it. The parent may have ended meanwhile, so it is looked at too.
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)
    if os.getppid() == 1:
        os._exit(1)


class PostgresServer:
    """One server with a data directory, a role and a port of its own.

    Args:
        settings: Changes of `SETTINGS`, e.g. `{"fsync": "on"}`.

    Raises:
        PostgresMissing: PostgreSQL is not installed.
    """

    def __init__(self, **settings: str) -> None:
        self._programs = programs()
        self._settings = SETTINGS | settings
        self._process: subprocess.Popen[bytes] | None = None
        self._home = Path(tempfile.mkdtemp(prefix="nagaya-postgres-"))
        self._as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            # PostgreSQL refuses root.
            user = pwd.getpwnam("nobody")
            os.chown(self._home, user.pw_uid, user.pw_gid)
            self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self.password = secrets.token_urlsafe(12)
        self.port = 0
        try:
            self._initialise()
        except BaseException:
            self.close()
            raise

    def _initialise(self) -> None:
        password_file = self._home / "password"
        password_file.write_text(self.password)
        password_file.chmod(0o644)  # In a directory that only the server's user can enter.
        options = ["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", f"--username={ROLE}"]
        options += ["--auth=scram-sha-256", f"--pwfile={password_file}", f"--pgdata={self._home / 'data'}"]
        done = subprocess.run(
            [self._programs / "initdb", *options], capture_output=True, cwd="/", check=False, **self._as_user
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr.decode(errors='replace')}")

    def start(self) -> None:
        """Starts the server, at the same port as before, and waits until it answers."""
        for _ in range(5):
            port = self.port or _free_port()
            if self._try(port):
                self.port = port
                return
        raise RuntimeError(f"PostgreSQL did not start:\n{(self._home / 'log').read_text(errors='replace')}")

    def _try(self, port: int) -> bool:
        given = self._settings | {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(self._home),
        }
        command = [str(self._programs / "postgres"), "-D", str(self._home / "data")]
        for name, value in given.items():
            command += ["-c", f"{name}={value}"]
        with (self._home / "log").open("ab") as log:
            # preexec_fn is safe here: it makes two system calls.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509
                **self._as_user,
            )
        deadline = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self._conninfo("postgres", port)):
                return True
            time.sleep(0.02)
        self.stop("SIGQUIT")
        return False

    def stop(self, how: str = "SIGINT") -> None:
        """Ends the server.

        Args:
            how: `SIGINT` ends open connections in order, `SIGQUIT` at once, as a crash does.
        """
        if self._process is not None:
            self._process.send_signal(signal.Signals[how])
            self._process.wait(START_SECONDS)
            self._process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stops the server and its connections from doing anything for the length of the block, as a lost host does."""
        assert self._process is not None
        group = self._process.pid
        pids = [group, *_children(group)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        """Ends the server and removes its files."""
        self.stop("SIGQUIT")
        shutil.rmtree(self._home, ignore_errors=True)

    def url(self, name: str, *, role: str = ROLE, password: str | None = None) -> str:
        """Returns the URL of a database, as `NAGAYA_DATABASE_URL` takes it."""
        return f"postgresql://{role}:{password or self.password}@127.0.0.1:{self.port}/{name}"

    def _conninfo(self, name: str, port: int) -> str:
        return f"postgresql://{ROLE}:{self.password}@127.0.0.1:{port}/{name}"

    def execute(self, statement: str | sql.Composed, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Runs one statement as the superuser and returns its rows."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode() if isinstance(statement, str) else statement)
            return cursor.fetchall() if cursor.description else []

    def create(self, template: str | None = None) -> str:
        """Makes a database and returns its name.

        Args:
            template: A database to copy, to which nobody is connected; by default an empty one.
        """
        name = f"n{secrets.token_hex(8)}"
        # Copying files takes a third of the time of copying through the write-ahead log.
        command = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        self.execute(command.format(sql.Identifier(name), sql.Identifier(template or "template0")))
        return name

    def drop(self, name: str) -> None:
        """Removes a database, whoever is connected to it."""
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def __enter__(self) -> PostgresServer:
        """Starts the server."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it."""
        self.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _children(parent: int) -> list[int]:
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(pid) for pid in text.split()]
