"""A platform that speaks TLS itself and gives each tenant a host name: the stock client, Chromium, and renewals."""

import json
import re
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from harness.approval import Person
from harness.authority import Authority
from harness.client import CLIENTS, StockClient
from harness.place import open_directory
from harness.platform import ADMIN_EMAIL, ADMIN_PASSWORD, Platform, free_port
from harness.resolver import LoopbackTunnel
from harness.wire import Address, Caller
from tests.e2e.test_docs_page import chromium
from tests.e2e.test_stock_client import log_in, run_pipeline

DOMAIN = "zenml.example.test"
PATTERN = "{tenant}--{organization}." + DOMAIN
HOST = f"staging--acme.{DOMAIN}"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whose certificates clients trust."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secure(authority: Authority) -> Iterator[Platform]:
    """A platform with a certificate, host names for tenants, and a port of plain HTTP."""
    certificate, key = authority.issue(DOMAIN, f"*.{DOMAIN}", "127.0.0.1")
    settings = {
        "NAGAYA_DEVICE_INTERVAL": "1",
        "NAGAYA_TENANT_HOSTS": PATTERN,
        "NAGAYA_TLS_CERTIFICATE": str(certificate),
        "NAGAYA_TLS_KEY": str(key),
        "NAGAYA_HTTP_REDIRECT_PORT": str(free_port()),
    }
    options: dict[str, Any] = {"settings": settings, "host": DOMAIN, "context": authority.context()}
    with open_directory("hosts") as directory, Platform(directory / "data", **options) as platform:
        yield platform


@pytest.fixture
def tunnel() -> Iterator[LoopbackTunnel]:
    """Resolves the names of the platform."""
    with LoopbackTunnel(DOMAIN) as running:
        yield running


@pytest.fixture
def someone(secure: Platform, tunnel: LoopbackTunnel, authority: Authority) -> Iterator[Person]:
    """The administrator, signed in."""
    person = Person(secure.url, proxy=tunnel.url, context=authority.context())
    person.sign_in()
    yield person
    person.close()


def tenant_address(platform: Platform, host: str = HOST) -> Address:
    """The address of a tenant by its own host."""
    return Address(port=platform.port, host=host, context=platform.context)


def test_the_stock_client_logs_in_by_the_tenants_own_host(
    secure: Platform, someone: Person, tunnel: LoopbackTunnel, authority: Authority, tmp_path: Path
) -> None:
    if not (CLIENTS / "0.98.0").exists():
        pytest.skip(f"no stock client at {CLIENTS / '0.98.0'}; ./run test installs it")
    client = StockClient(tmp_path / "home", environment={
        "HTTPS_PROXY": tunnel.url, "REQUESTS_CA_BUNDLE": str(authority.path),
    })  # fmt: skip
    url = f"https://{HOST}:{secure.port}"
    output = log_in(client, someone, url, "--ssl-ca-cert", str(authority.path))
    assert "staging" in output
    assert HOST in tunnel.asked
    assert url in client.run("zenml", "status")
    client.run("zenml", "project", "set", "default")
    assert "default" in client.run("zenml", "stack", "list")
    run_pipeline(client)
    total, busiest = requests_of_tenants(secure)
    # The limit of a credential is 100 a second: a client that stays far below it can go on for any number of steps.
    assert busiest < WINDOW * 50, f"{busiest} requests in {WINDOW} s, {total} in all"
    assert "staging" in client.run("zenml", "server", "list", "--pro-api-url", f"{secure.url}/api/v1")


WINDOW = 5
"""Seconds over which requests are counted."""


def requests_of_tenants(platform: Platform) -> tuple[int, int]:
    """Returns how many requests tenants got in all, and how many in the busiest `WINDOW` seconds."""
    lines = (platform.data_dir / "log" / "gateway.log").read_text().splitlines()
    times = [each["time"] for each in map(json.loads, lines) if each.get("route") == "tenant"]
    busiest = max(sum(start <= time < start + WINDOW for time in times) for start in times)
    print(f"{len(times)} requests of the client, {busiest} in the busiest {WINDOW} s")
    return len(times), busiest


def test_both_addresses_lead_to_the_tenant_and_one_is_named(secure: Platform) -> None:
    admin = secure.sign_in()
    own = f"https://{HOST}:{secure.port}"
    api = secure.api(admin)
    shown = api.expect("GET", "/workspaces/acme%2Fstaging").json()
    assert shown["url"] == own
    for url in (own, f"{own}/", own.upper(), f"{secure.url}/t/acme/staging"):
        listed = api.expect("GET", f"/workspaces?url={url}").json()
        assert [each["id"] for each in listed] == [shown["id"]], url
    assert api.expect("GET", f"/workspaces?url=https://other--acme.{DOMAIN}:{secure.port}").json() == []
    by_host, by_path = Caller(tenant_address(secure)), secure.tenant_caller("staging")
    assert by_host.expect("GET", "/api/v1/info").json() == by_path.expect("GET", "/api/v1/info").json()
    assert by_host.expect("GET", "/api/v1/info").json()["server_url"] == own
    token = secure.tenant_token("staging", admin)
    assert by_host.call("GET", "/api/v1/stacks", token=token).status == 200
    assert by_host.expect("GET", "/openapi.json").json()["servers"] == [{"url": "/"}]
    assert by_path.expect("GET", "/openapi.json").json()["servers"] == [{"url": "/t/acme/staging"}]
    assert by_path.call("GET", "/t/acme/staging/t/acme/staging/api/v1/stacks", token=token).status == 404
    by_host.close()


def test_chromium_uses_the_platforms_origin_and_has_no_session_on_a_tenants(
    secure: Platform, authority: Authority
) -> None:
    path = chromium()
    if path is None:
        pytest.skip("no Chromium found: install it or set NAGAYA_CHROMIUM")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync"]
    flags.append(f"--host-resolver-rules=MAP {DOMAIN} 127.0.0.1, MAP *.{DOMAIN} 127.0.0.1, MAP * ~NOTFOUND")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        # Chromium reads its authorities from a database that only its own tools write; httpx checks the chain above.
        context = browser.new_context(ignore_https_errors=True)
        page = context.new_page()
        refused: list[str] = []
        page.on("console", lambda message: refused.append(message.text) if "Content Security" in message.text else None)
        # Another name of the platform: the browser is sent to the public one.
        page.goto(f"https://www.{DOMAIN}:{secure.port}/login")
        assert page.url == f"{secure.url}/login"
        page.fill("input[name=username]", ADMIN_EMAIL)
        page.fill("input[name=password]", ADMIN_PASSWORD)
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "/login" not in url)
        cookies = {cookie["name"]: cookie for cookie in context.cookies()}
        assert cookies["__Host-nagaya"]["secure"]
        assert cookies["__Host-nagaya"]["domain"] == DOMAIN
        page.goto(f"{secure.url}/t/acme/staging/docs")
        page.wait_for_selector(".opblock", timeout=120_000)
        fetched = "fetch('api/v1/stacks').then(answer => answer.status)"
        assert page.evaluate(fetched) == 200
        page.goto(f"https://{HOST}:{secure.port}/docs")
        page.wait_for_selector(".opblock", timeout=120_000)
        assert refused == []
        assert "your browser's session" in page.inner_text("body")
        assert page.evaluate(fetched) == 401
        page.goto(f"https://{HOST}:{secure.port}/")
        assert page.url.startswith(f"{secure.url}/")
        browser.close()


def test_plain_http_shows_the_way_and_nothing_else(secure: Platform) -> None:
    caller = Caller(Address(port=int(secure.environment["NAGAYA_HTTP_REDIRECT_PORT"])))
    moved = caller.call("GET", "/api/v1/tenants?limit=1")
    assert (moved.status, moved.headers["Location"]) == (308, f"{secure.url}/api/v1/tenants?limit=1")
    refused = caller.call("POST", "/api/v1/auth/login", form={"username": "a", "password": "b"})
    assert refused.status == 403
    assert secure.url in refused.body.decode()
    caller.close()


def test_a_renewed_certificate_is_served_without_a_restart(secure: Platform, authority: Authority) -> None:
    def serial() -> int:
        pem = ssl.get_server_certificate(("127.0.0.1", secure.port), timeout=10)
        from cryptography import x509  # noqa: PLC0415 - only here

        return x509.load_pem_x509_certificate(pem.encode()).serial_number

    before, pids = serial(), secure.process_ids()
    authority.issue(DOMAIN, f"*.{DOMAIN}", "127.0.0.1")
    end = time.monotonic() + 30
    while serial() == before:
        assert time.monotonic() < end, "the renewed certificate is not served"
        time.sleep(0.2)
    assert secure.process_ids() == pids


def test_changing_the_pattern_readdresses_every_tenant(secure: Platform, authority: Authority) -> None:
    admin = secure.sign_in()
    made = secure.create_tenant("second", admin)
    secure.wait_available(made["id"], admin)
    secure.keeper("sleep", id=made["id"])
    secure.stop()
    secure.environment["NAGAYA_TENANT_HOSTS"] = "{organization}-.{tenant}".replace("-.", "--") + f".{DOMAIN}"
    secure.start()
    for tenant in ("staging", "second"):
        caller = Caller(tenant_address(secure, f"acme--{tenant}.{DOMAIN}"))
        end = time.monotonic() + 60
        wanted = f"https://acme--{tenant}.{DOMAIN}:{secure.port}"
        while caller.call("GET", "/api/v1/info").json().get("server_url") != wanted:
            assert time.monotonic() < end, "the tenant still names its old address"
            time.sleep(0.1)
        caller.close()
    states = {state["tenant"]: state["state"] for state in secure.keeper("list")}
    assert states["second"] == "asleep"
    secure.stop()
    secure.environment["NAGAYA_TENANT_HOSTS"] = PATTERN
    secure.start()


def test_a_certificate_that_cannot_be_used_is_refused_in_one_sentence(
    secure: Platform, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path)
    _, foreign_key = other.issue(DOMAIN)
    environment = dict(secure.environment)
    try:
        secure.environment["NAGAYA_TLS_KEY"] = str(foreign_key)
        arguments = ("up", "--data-dir", str(tmp_path / "data"), "--port", str(free_port()))
        result = secure.command(*arguments, check=False)
    finally:
        secure.environment = environment
    assert result.returncode == 2, result.stdout
    assert re.search(r"The key in \S+ does not belong to the certificate in \S+\.", result.stderr.replace("\n", " "))
    assert json.dumps(result.stdout).count("BEGIN") == 0
