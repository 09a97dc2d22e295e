"""A real platform on a port and a data directory of its own, driven through its public interfaces."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from harness.wire import Address, Caller, wait_until_answered

ROOT = Path(__file__).resolve().parent.parent
ADMIN_EMAIL = "ada@example.com"
ADMIN_PASSWORD = "correct horse battery staple"


def free_port() -> int:
    """Returns a TCP port of the loopback address that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Platform:
    """One running platform.

    Args:
        data_dir: Its data directory; created by the platform.
        settings: Further `NAGAYA_*` settings.
        organization: Organization to create at the start.
        tenant: Tenant to create at the start.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        settings: dict[str, str] | None = None,
        organization: str | None = "acme",
        tenant: str | None = "staging",
    ) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.organization = organization
        self.tenant = tenant
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("NAGAYA_", "ZENML_"))},
            "NAGAYA_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "NAGAYA_ENGINES_DIR": os.environ.get("NAGAYA_ENGINES_DIR", str(ROOT / ".engines")),
            **(settings or {}),
        }
        self.output = ""
        self._callers: list[Caller] = []

    def command(self, *arguments: str, timeout: float = 300, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs `nagaya …` as a person would, in the platform's environment.

        Args:
            arguments: Words of the command line.
            timeout: Seconds.
            check: Whether a failure raises.
        """
        result = subprocess.run(
            [sys.executable, "-m", "nagaya.cli.main", *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and result.returncode != 0:
            raise RuntimeError(f"nagaya {' '.join(arguments)}: {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result

    def start(self) -> Self:
        """Starts the platform in the background and returns when it answers."""
        arguments = ["up", "--detach", "--data-dir", str(self.data_dir), "--port", str(self.port)]
        arguments += ["--admin-email", ADMIN_EMAIL]
        if self.organization:
            arguments += ["--organization", self.organization]
        if self.tenant:
            arguments += ["--tenant", self.tenant]
        self.output = self.command(*arguments).stdout
        return self

    def stop(self) -> None:
        """Stops the platform and everything below it."""
        self.close_callers()
        self.command("down", "--data-dir", str(self.data_dir), check=False, timeout=90)

    def remove(self) -> None:
        """Removes the data directory."""
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> Address:
        """The public address."""
        return Address(port=self.port)

    def api(self, token: str | None = None) -> Caller:
        """Returns a caller of the platform's API (paths below `/api/v1`)."""
        return self._tracked(Caller(Address(port=self.port, prefix="/api/v1"), token))

    def tenant_caller(self, tenant: str, token: str | None = None, organization: str | None = None) -> Caller:
        """Returns a caller of a tenant through the gateway."""
        prefix = f"/t/{organization or self.organization}/{tenant}"
        return self._tracked(Caller(Address(port=self.port, prefix=prefix), token))

    def _tracked(self, caller: Caller) -> Caller:
        self._callers.append(caller)
        return caller

    def close_callers(self) -> None:
        """Closes the connections of all callers that were handed out; they open again at their next request."""
        for caller in self._callers:
            caller.close()
        self._callers.clear()

    def sign_in(self, email: str = ADMIN_EMAIL, password: str = ADMIN_PASSWORD) -> str:
        """Returns a platform token of a user."""
        caller = self.api()
        answer = caller.expect("POST", "/auth/login", form={"username": email, "password": password})
        caller.close()
        return str(answer.json()["access_token"])

    def tenant_token(self, tenant: str, platform_token: str, organization: str | None = None) -> str:
        """Exchanges a platform token at a tenant, as the stock client does."""
        caller = self.tenant_caller(tenant, organization=organization)
        answer = caller.expect("POST", "/api/v1/login", form={"grant_type": "zenml-external"}, token=platform_token)
        caller.close()
        return str(answer.json()["access_token"])

    def create_tenant(self, name: str, token: str, **fields: Any) -> dict[str, Any]:
        """Creates a tenant through the API and returns it without waiting for it to be available."""
        caller = self.api(token)
        organization = caller.expect("GET", f"/organizations/{self.organization}").json()
        body = {"name": name, "organization_id": organization["id"], **fields}
        answer = caller.expect("POST", "/tenants", 201, body=body)
        caller.close()
        return dict(answer.json())

    def wait_available(self, tenant_id: str, token: str, deadline: float = 60) -> dict[str, Any]:
        """Waits until a tenant is available and returns it; raises if it fails."""
        caller = self.api(token)
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            tenant = caller.expect("GET", f"/tenants/{tenant_id}").json()
            if tenant["status"] == "available":
                caller.close()
                return dict(tenant)
            if tenant["status"] == "failed":
                raise RuntimeError(f"tenant failed: {tenant['state_reason']}")
            time.sleep(0.05)
        raise TimeoutError(f"tenant {tenant_id} is not available after {deadline} s")

    def wait_ready(self, deadline: float = 120) -> None:
        """Waits until the platform answers that it is ready."""
        caller = Caller(self.address)
        wait_until_answered(caller, "/ready", deadline=deadline)
        caller.close()

    def keeper(self, method: str, **parameters: Any) -> Any:
        """Calls the keeper over its socket, as an operator's tool would."""
        config = json.loads((self.data_dir / "run" / "config.json").read_text())
        run_dir = Path(config.get("run_dir") or self.data_dir / "run")
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(90)
            link.connect(str(run_dir / "keeper.sock"))
            link.sendall(json.dumps({"id": 1, "method": method, "params": parameters}).encode() + b"\n")
            answer = json.loads(link.makefile("rb").readline())
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def process_ids(self) -> dict[str, int]:
        """Returns the ids of the platform's own processes by name (`supervisor`, `keeper`, `api`, `gateway`)."""
        status = json.loads(self.command("status", "--data-dir", str(self.data_dir), "--json").stdout)
        found = {process["name"]: process["pid"] for process in status["processes"] if process["pid"]}
        return {"supervisor": status["pid"], **found}
