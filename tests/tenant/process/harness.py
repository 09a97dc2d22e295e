"""The keeper's side of a tenant's start, for tests: a platform key, a zygote, tenants and their HTTP client."""

from __future__ import annotations

import array
import contextlib
import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

PUBLIC_URL = "http://127.0.0.1:8440"
LAUNCHER = Path(__file__).with_name("launcher.py")
DEADLINE = 60.0


def launcher(module: str) -> list[str]:
    """Command that runs a module of the package with the network watched."""
    return [sys.executable, str(LAUNCHER), module]


class Platform:
    """Signs sessions and writes policy documents."""

    def __init__(self) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.principal = str(uuid4())
        self.organization = str(uuid4())

    def session(self) -> str:
        now = int(time.time())
        claims = {"iss": PUBLIC_URL, "aud": "nagaya", "typ": "session", "sub": self.principal, "sid": str(uuid4())}
        payload = {**claims, "epoch": 0, "iat": now, "exp": now + 3600}
        return str(jwt.encode(payload, self.key, algorithm="EdDSA", headers={"kid": "test"}))

    def policy(self, tenant: UUID) -> dict[str, Any]:
        public = OKPAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        grant = {"role": "tenant_admin", "via": "direct", "project": None, "expires": None}
        user = {"kind": "user", "username": "ada", "email": "ada@example.com", "name": "Ada", "superuser": False}
        return {
            "schema": 1,
            "tenant": str(tenant),
            "organization": self.organization,
            "version": 1,
            "issuer": PUBLIC_URL,
            "issued_at": int(time.time()),
            "jwks": {"keys": [{**public, "kid": "test", "alg": "EdDSA", "use": "sig"}]},
            "principals": {self.principal: {**user, "valid_after": 0, "grants": [grant], "shares": {}}},
            "roles": {},
            "revoked_sessions": {},
        }


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@dataclass
class Tenant:
    """A tenant's directory, socket and identity; `start` and `stop` go through a zygote or a plain process."""

    root: Path
    platform: Platform
    template: Path
    uid: int | None = None
    name: str = "staging"
    extra: dict[str, str] = field(default_factory=dict)
    id: UUID = field(default_factory=uuid4)
    system_user: UUID = field(default_factory=uuid4)
    project: UUID = field(default_factory=uuid4)
    jwt_key: str = field(default_factory=lambda: uuid4().hex + uuid4().hex)
    secrets_key: str = field(default_factory=lambda: uuid4().hex)
    pid: int = 0
    ready: dict[str, Any] = field(default_factory=dict)
    started: float = 0.0

    def __post_init__(self) -> None:
        self.directory = self.root / str(self.id)
        self.directory.mkdir(mode=0o700)
        self.policy = self.root / f"{self.id}.policy.json"
        self.policy.write_text(json.dumps(self.platform.policy(self.id)))
        self.policy.chmod(0o600)
        if self.uid is not None:
            os.chown(self.directory, self.uid, self.uid)
        self.path = self.root / f"{self.id.hex[:12]}.sock"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen(128)
        self._token = ""

    @property
    def database(self) -> Path:
        return self.directory / "zenml.db"

    @property
    def root_path(self) -> str:
        return f"/t/acme/{self.name}"

    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.directory),
            "DISABLE_DATABASE_MIGRATION": "true",
            "ZENML_ANALYTICS_OPT_IN": "false",
            "ZENML_CONFIG_PATH": str(self.directory / "config"),
            "ZENML_STORE_URL": f"sqlite:///{self.database}",
            "ZENML_SECRETS_STORE_TYPE": "sql",
            "ZENML_SECRETS_STORE_ENCRYPTION_KEY": self.secrets_key,
            "ZENML_SERVER": "true",
            "ZENML_SERVER_DEPLOYMENT_TYPE": "cloud",
            "ZENML_SERVER_JWT_SECRET_KEY": self.jwt_key,
            "ZENML_SERVER_SERVER_URL": f"{PUBLIC_URL}{self.root_path}",
            "ZENML_SERVER_PRO_API_URL": f"{PUBLIC_URL}/api/v1",
            "ZENML_SERVER_PRO_DASHBOARD_URL": f"{PUBLIC_URL}/o/acme",
            "ZENML_SERVER_PRO_OAUTH2_AUDIENCE": "nagaya-server",
            "ZENML_SERVER_PRO_OAUTH2_CLIENT_SECRET": "client-secret-of-the-test",
            "ZENML_SERVER_PRO_ORGANIZATION_ID": self.platform.organization,
            "ZENML_SERVER_PRO_ORGANIZATION_NAME": "acme",
            "ZENML_SERVER_PRO_WORKSPACE_ID": str(self.id),
            "ZENML_SERVER_PRO_WORKSPACE_NAME": self.name,
            "NAGAYA_TENANT_ID": str(self.id),
            "NAGAYA_ORGANIZATION_ID": self.platform.organization,
            "NAGAYA_PUBLIC_URL": PUBLIC_URL,
            "NAGAYA_ROOT_PATH": self.root_path,
            "NAGAYA_CHANNEL_SOCKET": str(self.root / "no-channel.sock"),
            "NAGAYA_CHANNEL_TOKEN": "channel-token-of-the-test",
            "NAGAYA_POLICY_MAX_AGE": "86400",
            "NAGAYA_SYSTEM_USER_ID": str(self.system_user),
            "NAGAYA_OUTBOX": str(self.directory / "outbox.db"),
            **self.extra,
        }

    def order(self) -> dict[str, Any]:
        return {
            "cmd": "spawn",
            "name": f"nagaya {self.name}",
            "dir": str(self.directory),
            "log": str(self.directory / "log" / "tenant.log"),
            "uid": self.uid,
            "env": self.environment(),
            "stamp": {
                "template": str(self.template),
                "server_id": str(self.id),
                "server_name": self.name,
                "project": {"id": str(self.project), "name": "default"},
                "system_user": {"id": str(self.system_user), "name": "nagaya"},
            },
        }

    @contextlib.contextmanager
    def _descriptors(self) -> Any:
        policy = os.open(self.policy, os.O_RDONLY | os.O_CLOEXEC)
        read, write = os.pipe2(os.O_CLOEXEC)
        try:
            yield (self.listener.fileno(), policy, write), read
        finally:
            for descriptor in (policy, write):
                os.close(descriptor)

    def start(self, zygote: Zygote) -> dict[str, Any]:
        """Forks the tenant and returns its readiness line."""
        self.started = time.monotonic()
        with self._descriptors() as (descriptors, read):
            answer = zygote.request(self.order(), descriptors)
            self.pid = answer.get("pid", 0)
        assert self.pid, answer
        self.ready = read_line(read)
        return self.ready

    def start_plain(self) -> tuple[subprocess.Popen[bytes], dict[str, Any]]:
        """Starts the tenant without a zygote and returns its process and readiness line."""
        self.started = time.monotonic()
        with self._descriptors() as (descriptors, read):
            environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
            environ |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
            environ |= {"NAGAYA_SPAWN": json.dumps(self.order()), "NAGAYA_FDS": ",".join(map(str, descriptors))}
            process = subprocess.Popen(launcher("nagaya_tenant.plain"), env=environ, pass_fds=descriptors)
        self.pid = process.pid
        self.ready = read_line(read)
        return process, self.ready

    def request(
        self,
        path: str,
        *,
        method: str = "GET",
        token: str = "",
        body: Any = None,
        form: str = "",
        timeout: float = 30,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        headers = {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", **(headers or {})}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data: str | None = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body), "application/json"
        elif form:
            data, headers["Content-Type"] = form, "application/x-www-form-urlencoded"
        connection = _UnixConnection(self.path, timeout)
        try:
            connection.request(method, path, body=data, headers=headers)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def sign_in(self) -> str:
        """Exchanges a platform session for a token of this tenant."""
        answer = self.request(
            "/api/v1/login", method="POST", token=self.platform.session(), form="grant_type=zenml-external"
        )
        assert answer.status == 200, (answer.status, answer.body, self.log())
        return str(answer.json()["access_token"])

    def token(self) -> str:
        """A token of this tenant, made once."""
        self._token = self._token or self.sign_in()
        return self._token

    def stop(self, zygote: Zygote, number: int = signal.SIGTERM) -> int:
        os.kill(self.pid, number)
        return zygote.wait(self.pid)

    def log(self) -> str:
        path = self.directory / "log" / "tenant.log"
        return path.read_text() if path.exists() else ""

    def close(self) -> None:
        self.listener.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class Zygote:
    """A running fork server."""

    def __init__(self, directory: Path, template: Path) -> None:
        self.control = directory / "zygote.sock"
        self.log = directory / "zygote.log"
        environ = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ}
        environ |= {"MALLOC_ARENA_MAX": "2", "ZENML_STORE_URL": "sqlite:////nonexistent/of-the-host"}
        environ |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
        command = [*launcher("nagaya_tenant.zygote"), str(self.control), "--template", str(template)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=log)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.process.stdout.close()
        assert line, self.log.read_text()[-3000:]
        self.ready = json.loads(line)
        self.exits: dict[int, int] = {}
        self.connection = self.connect()

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(DEADLINE)
        connection.connect(str(self.control))
        return connection

    def request(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> dict[str, Any]:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self.connection.sendmsg([json.dumps(message).encode()], rights)
        while True:
            answer = self._receive()
            if "exit" not in answer:
                return answer

    def wait(self, pid: int) -> int:
        """Waits for the exit of a child and returns its status."""
        while pid not in self.exits:
            self._receive()
        return self.exits[pid]

    def _receive(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.connection.recv(1 << 18))
        if "exit" in answer:
            self.exits[answer["exit"]] = answer["status"]
        return answer

    def close(self) -> None:
        self.connection.close()
        self.process.terminate()
        assert self.process.wait(DEADLINE) == 0, self.log.read_text()[-3000:]


def read_line(descriptor: int) -> dict[str, Any]:
    """Reads the readiness line to the end of the pipe."""
    collected = b""
    with contextlib.closing(os.fdopen(descriptor, "rb", buffering=0)) as pipe:
        deadline = time.monotonic() + DEADLINE
        while not collected.endswith(b"\n"):
            assert select.select([pipe], [], [], deadline - time.monotonic())[0], "no readiness line in time"
            part = pipe.read(65536)
            if not part:
                return {"ready": False, "reason": f"the pipe was closed after {collected!r}"}
            collected += part
    line: dict[str, Any] = json.loads(collected)
    return line


def links_of(pid: int) -> list[str]:
    """What the open descriptors of a process point to."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # Closed since it was listed.
            found.append(str(entry.readlink()))
    return found
