"""The unmodified zenml client signs in through the device flow, with a person's form posts instead of a browser."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from nagaya.app import create_app
from nagaya.app_state import create_state
from nagaya.http.settings import ApiSettings
from nagaya.tenants.assembly import install
from nagaya.tenants.models import Tenant
from tests.api.world import PASSWORD, World, settle

CLIENT = Path(os.environ.get("NAGAYA_TEST_ZENML", "")) if os.environ.get("NAGAYA_TEST_ZENML") else None
SECONDS = 90.0

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(CLIENT is None, reason="NAGAYA_TEST_ZENML does not name a zenml command"),
    pytest.mark.timeout(240),
]


class Served(World):
    """A world whose application listens on a real port."""

    def __init__(self, directory: Path) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        super().__init__(directory)
        self.state.database.close()
        settings = ApiSettings(data_dir=directory, public_url=self.url, device_interval=1)
        self.state = create_state(settings)
        self.control = install(self.state, self.control.platform.runtime, default_engine="0.98.0")
        self.app = create_app(self.state)
        self.client = self.browser()
        self.server = uvicorn.Server(uvicorn.Config(self.app, log_config=None, access_log=False))
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        self.server.config.load()
        self.server.run(sockets=[self.listener])

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        super().close()


@pytest.fixture(name="served")
def fixture_served(tmp_path: Path) -> Iterator[Served]:
    """A world on a port."""
    served = Served(tmp_path / "data")
    yield served
    served.close()


def approve(url: str, address: str) -> None:
    """Does what a person does in the browser: sign in, look at the page, choose, approve."""
    with httpx.Client(base_url=url, follow_redirects=True, headers={"Accept": "text/html"}) as browser:
        page = browser.get(address)
        assert "Sign in" in page.text
        page = browser.post(
            "/login",
            data={
                "csrf": field(page, "csrf"),
                "next": field(page, "next").replace("&amp;", "&"),
                "username": "ada",
                "password": PASSWORD,
            },
        )
        assert "Let this client in?" in page.text
        assert "ZenML 0.98.0" in page.text
        chosen = re.search(r'<option value="([0-9a-f-]{36})" selected>', page.text)
        assert chosen is not None
        form = {name: field(page, name) for name in ("csrf", "user_code", "workspace")}
        page = browser.post("/devices/verify", data=form | {"tenant": chosen[1], "decision": "approve"})
        assert "The client is signed in" in page.text


def field(page: httpx.Response, name: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert found is not None, page.text
    return found[1]


def environment(home: Path) -> dict[str, str]:
    return {
        "HOME": str(home),
        "PATH": "/usr/bin:/bin",
        "ZENML_CONFIG_PATH": str(home / "config"),
        "ZENML_ANALYTICS_OPT_IN": "false",
        "NO_COLOR": "1",
        "COLUMNS": "300",
        "BROWSER": shutil.which("true") or "true",
        "PYTHONUNBUFFERED": "1",
    }


def test_the_device_flow_ends_signed_in(served: Served, tmp_path: Path) -> None:
    settled = settle(served)
    with served.state.database.write() as db:
        for tenant in db.query(Tenant):
            tenant.status = "available"
        db.commit()
    home = tmp_path / "home"
    home.mkdir()
    command: list[Any] = [CLIENT, "login", "staging", "--pro-api-url", f"{served.url}/api/v1"]
    output: list[str] = []
    with subprocess.Popen(
        command, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=home
    ) as process:
        assert process.stdout is not None
        watchdog = threading.Timer(SECONDS, process.kill)
        watchdog.start()
        for line in process.stdout:
            output.append(line)
            found = re.search(rf"{served.url}/devices/verify\?\S+", "".join(output).replace("\n", " "))
            if found and "approved\n" not in output:
                approve(served.url, found[0])
                output.append("approved\n")
        watchdog.cancel()
    text = "".join(output)
    credentials = (home / "config" / "credentials.yaml").read_text()
    assert f"{served.url}/api/v1" in credentials
    assert "approved" in text
    stored = re.search(r"access_token: (\S+)", credentials)
    assert stored is not None
    auth = {"Authorization": f"Bearer {stored[1]}"}
    assert httpx.get(f"{served.url}/api/v1/users/me", headers=auth).json()["username"] == "ada"
    # The client went on to the tenant that was chosen on the page; this world has no server behind it.
    assert "/t/acme/staging" in text
    assert settled.tenant["name"] == "staging"
