"""A plain ZenML server, byte-compiled, started the way its documentation says, to measure beside."""

import os
import shutil
import subprocess
import time
import uuid
from pathlib import Path

from harness.wire import Address, Caller, wait_until_answered

JWT_SECRET = "0" * 63 + "1"


class PlainServer:
    """One `uvicorn zenml.zen_server.zen_server_api:app` on a unix socket.

    Args:
        python: Interpreter of an environment with `zenml[server]`.
        directory: Directory of its own; created.
        database: A database to copy, else a fresh one is made by the server itself.
        environment: Further environment variables.
    """

    def __init__(
        self, python: Path, directory: Path, *, database: Path | None = None, environment: dict[str, str] | None = None
    ) -> None:
        self.python = python
        self.directory = directory
        directory.mkdir(parents=True)
        if database is not None:
            shutil.copyfile(database, directory / "zenml.db")
        self.address = Address(socket=str(directory / "s"))
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "ZENML_CONFIG_PATH": str(directory / "config"),
            "ZENML_STORE_URL": f"sqlite:///{directory / 'zenml.db'}",
            "ZENML_SERVER": "true",
            "ZENML_SERVER_AUTO_ACTIVATE": "true",
            "ZENML_SERVER_JWT_SECRET_KEY": JWT_SECRET,
            "ZENML_ANALYTICS_OPT_IN": "false",
            "ZENML_ENABLE_UPDATES_CHECK": "false",
            **(environment or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the process and does not wait."""
        log = (self.directory / "log").open("wb")
        arguments = [str(self.python), "-m", "uvicorn", "zenml.zen_server.zen_server_api:app"]
        self.process = subprocess.Popen(
            [*arguments, "--uds", str(self.address.socket), "--no-access-log"],
            env=self.environment,
            stdout=log,
            stderr=log,
            cwd=self.directory,
        )
        log.close()

    def login(self, deadline: float = 180) -> str:
        """Waits until the server answers, signs in as its default administrator, and returns the token."""
        caller = Caller(self.address)
        wait_until_answered(caller, "/ready", deadline=deadline)
        answer = caller.expect("POST", "/api/v1/login", form={"username": "default", "password": ""})
        caller.close()
        return str(answer.json()["access_token"])

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self.process is None:
            raise RuntimeError("the server was not started")
        return self.process.pid

    def stop(self) -> None:
        """Stops the process and waits for its end."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)


def time_to_first_answer(python: Path, root: Path) -> float:
    """Returns milliseconds from starting a plain server on a fresh database to its first authenticated 200.

    Args:
        python: Interpreter with `zenml[server]`.
        root: Directory below which a new one is made.
    """
    server = PlainServer(python, root / f"plain-{uuid.uuid4().hex[:8]}")
    started = time.perf_counter()
    server.start()
    try:
        caller = Caller(server.address, server.login())
        caller.expect("GET", "/api/v1/stacks")
        elapsed = (time.perf_counter() - started) * 1000
        caller.close()
    finally:
        server.stop()
        shutil.rmtree(server.directory, ignore_errors=True)
    return elapsed
