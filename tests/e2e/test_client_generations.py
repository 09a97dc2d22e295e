"""Stock clients of six generations sign in by browser, list tenants and say what they can of a newer tenant.

The tenants run ZenML 0.98.0. Clients of other versions sign in with the client's own warning; up to 0.85.0 they cannot
read the stacks of such a tenant, which is ZenML's (a component type that they do not know), not the platform's.
"""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.approval import Person
from harness.client import CLIENTS, StockClient
from harness.platform import Platform

ENGINE = "0.98.0"
GENERATIONS = ("0.75.1", "0.80.2", "0.85.0", "0.90.0", "0.94.6", ENGINE)
READS_STACKS = ("0.90.0", "0.94.6", ENGINE)
"""Clients that understand the stacks of a tenant of `ENGINE`."""
HINTS = ("0.94.6", ENGINE)
"""Clients that tell the approval page which tenant they were asked for (zenml ≥ 0.94.6)."""
EXCHANGES_KEYS = ("0.85.0", "0.90.0", "0.94.6")
"""Clients that exchange an API key at the platform (zenml ≥ 0.84.3); 0.98.0 is tested in test_stock_client."""
ESCAPES = re.compile(r"\x1b\[[0-9;]*m|\x1b\]8;[^\x1b]*\x1b\\")

NewClient = Callable[[str], StockClient]


@pytest.fixture
def new_client(tmp_path: Path, platform: Platform) -> NewClient:
    """Makes clients of a generation, each with an empty home, whose links and lists lead to the platform."""

    def make(version: str) -> StockClient:
        if not (CLIENTS / version / "bin" / "zenml").exists():
            pytest.skip(f"no stock client at {CLIENTS / version}; ./run test installs it")
        made = StockClient(tmp_path / version, version)
        made.environment["ZENML_PRO_API_URL"] = f"{platform.url}/api/v1"
        return made

    return make


@pytest.fixture(scope="module")
def twins(platform: Platform) -> None:
    """Two organizations that both have a tenant `twin`, and one with a tenant that is switched off."""
    admin = platform.sign_in()
    caller = platform.api(admin)
    caller.expect("POST", "/organizations", 201, body={"name": "beta"})
    for organization, name in (("acme", "twin"), ("beta", "twin"), ("beta", "paused")):
        made = caller.expect("POST", "/tenants", 201, body={"name": name, "organization": organization}).json()
        platform.wait_available(made["id"], admin)
        if name == "paused":
            caller.expect("PATCH", f"/tenants/{made['id']}/deactivate", 200)
    caller.close()


def log_in(
    client: StockClient, person: Person, *arguments: str, tenant: str = "acme/staging", decision: str = "approve"
) -> tuple[int, str]:
    """Runs `zenml login …` and decides in the browser; returns the client's exit code and output."""
    process = client.start("zenml", "login", *arguments)
    try:
        answer = person.approve(client.opened_url(), tenant=tenant, decision=decision)
        assert answer.status_code == 200, answer.text
        output, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, words(output)


def words(output: str) -> str:
    """Output without colours and links, and with lines that the console has broken joined again."""
    return " ".join(ESCAPES.sub("", output).split())


def say(client: StockClient, *arguments: str) -> str:
    """Runs `zenml …`, whatever its exit code is."""
    return words(client.run("zenml", *arguments, check=False))


@pytest.mark.usefixtures("twins")
@pytest.mark.parametrize("version", GENERATIONS)
def test_login_by_name_and_lists(platform: Platform, person: Person, new_client: NewClient, version: str) -> None:
    client = new_client(version)
    api = ("--pro-api-url", f"{platform.url}/api/v1")
    code, output = log_in(client, person, "staging", *api)
    assert code == 0, output
    assert "Connected to ZenML Pro server: staging" in output
    assert ("does not match the server version" in output) == (version != ENGINE)
    assert client.opened_url().endswith("&workspace=staging") == (version in HINTS)

    listing = say(client, "server", "list")
    assert all(name in listing for name in ("staging", "twin", "acme", "beta", ENGINE)), listing
    assert "Several tenants are called 'twin': use one of acme/twin, beta/twin, or an id." in say(
        client, "login", "twin", *api
    )
    assert "No ZenML Pro server with the name 'nobody' exists" in say(client, "login", "nobody", *api)

    status = say(client, "status")
    if version in READS_STACKS:
        assert "Connected to a ZenML Pro server: `staging`" in status
        assert "The active project is: 'default'" in status
        assert f"API: {platform.url}/t/acme/staging" in status
        (dashboard,) = re.findall(r"Dashboard: (http\S+)", status)
        page = person.browser.get(dashboard)
        assert page.status_code == 200
        assert f"{platform.url}/t/acme/staging" in page.text
    else:
        # ZenML's own parsing: 0.85.0 and older do not know the component type `deployer`.
        assert "StackResponse" in status
        assert "deployer" in status


@pytest.mark.usefixtures("twins")
@pytest.mark.parametrize("version", GENERATIONS)
def test_the_choice_in_the_browser_counts(
    platform: Platform, person: Person, new_client: NewClient, version: str
) -> None:
    client = new_client(version)
    code, output = log_in(client, person, "--pro", "--pro-api-url", f"{platform.url}/api/v1", tenant="beta/twin")
    assert code == 0, output
    assert "Connected to ZenML Pro server: twin" in output
    assert f"{platform.url}/t/beta/twin" in output


@pytest.mark.parametrize("version", GENERATIONS)
def test_a_denied_device(platform: Platform, person: Person, new_client: NewClient, version: str) -> None:
    client = new_client(version)
    del client.environment["ZENML_PRO_API_URL"]
    # With a URL the client learns from the tenant where the platform is.
    code, output = log_in(client, person, f"{platform.url}/t/acme/staging", decision="deny")
    assert code != 0
    assert "access_denied The request was denied in the browser." in output


@pytest.mark.parametrize("version", [GENERATIONS[0], ENGINE])
def test_an_expired_code(platform: Platform, person: Person, new_client: NewClient, version: str) -> None:
    client = new_client(version)
    process = client.start("zenml", "login", f"{platform.url}/t/acme/staging")
    try:
        url = client.opened_url()
        with sqlite3.connect(platform.data_dir / "control" / "control.db") as database:
            database.execute("UPDATE devices SET expires = '2020-01-01 00:00:00.000000' WHERE status = 'pending'")
        database.close()
        output = words(process.communicate(timeout=120)[0])
    finally:
        process.kill()
    assert process.returncode != 0
    assert "expired_token" in output
    page = person.browser.get(url)
    assert "decision" not in page.text
    assert page.status_code in (404, 410, 422)


@pytest.mark.parametrize("version", EXCHANGES_KEYS)
def test_a_login_by_api_key(platform: Platform, admin: str, new_client: NewClient, version: str) -> None:
    client = new_client(version)
    key = new_key(platform, admin, f"terminal-{version}")
    arguments = ("zenml", "login", "staging", "--pro-api-url", f"{platform.url}/api/v1", "--api-key")
    output = words(client.on_a_terminal(*arguments, answer=key))
    assert "Connected to ZenML Pro server" in output, output
    assert key not in output
    assert "staging" in say(client, "server", "list")


@pytest.mark.parametrize("version", ["0.75.1", "0.80.2"])
def test_a_raw_api_key_is_refused(platform: Platform, admin: str, new_client: NewClient, version: str) -> None:
    # These send the key itself to the tenant. ZenML would take it, and skip access control for whoever uses it.
    client = new_client(version)
    key = new_key(platform, admin, f"raw-{version}")
    client.environment |= {"ZENML_STORE_URL": f"{platform.url}/t/acme/staging", "ZENML_STORE_API_KEY": key}
    output = say(client, "stack", "list")
    assert "not at the tenant: log in with `zenml login --api-key`" in output, output
    assert key not in output
    form = {"grant_type": "zenml-api-key", "password": key}
    assert platform.tenant_caller("staging").call("POST", "/api/v1/login", form=form).status == 401
    assert platform.tenant_caller("staging", key).call("GET", "/api/v1/current-user").status == 401


@pytest.mark.usefixtures("twins")
@pytest.mark.parametrize("version", [GENERATIONS[0], ENGINE])
def test_links_in_errors_lead_to_the_platform(
    platform: Platform, person: Person, new_client: NewClient, version: str
) -> None:
    client = new_client(version)
    # Without this variable the client prints links to its vendor's site.
    client.environment["ZENML_PRO_URL"] = platform.url
    code, output = log_in(client, person, "--pro", "--pro-api-url", f"{platform.url}/api/v1")
    assert code == 0, output
    output = say(client, "login", "beta/paused", "--pro-api-url", f"{platform.url}/api/v1")
    assert "deactivated" in output
    (link,) = re.findall(rf"{re.escape(platform.url)}/\S+?(?=[,.]?(?: |$))", output)
    page = person.browser.get(link)
    assert page.status_code == 200
    assert "/o/beta/t/paused" in str(page.url)


def new_key(platform: Platform, admin: str, name: str) -> str:
    """Returns a fresh personal API key of the administrator."""
    key = platform.api(admin).expect("POST", "/users/me/api_keys", 201, body={"name": name}).json()["key"]
    return str(key)
