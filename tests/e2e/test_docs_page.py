"""A tenant's `/docs` in a real Chromium without outside network: local assets, every method, a request that works."""

import json
import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, sync_playwright

from harness.platform import ADMIN_EMAIL, ADMIN_PASSWORD, Platform


def chromium() -> str | None:
    """Returns the path of a Chromium, if there is one."""
    return os.environ.get("NAGAYA_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture
def page(platform: Platform) -> Iterator[Page]:
    """A fresh page; the test fails on any console error, page error or request to another origin."""
    path = chromium()
    if path is None:
        pytest.skip("no Chromium found: install it or set NAGAYA_CHROMIUM")
    problems: list[str] = []
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    flags += [
        "--disable-component-update",
        "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        opened = browser.new_page()
        opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        opened.on("pageerror", lambda error: problems.append(str(error)))
        opened.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((platform.url, "data:", "blob:"))
                else problems.append(f"outside request {request.url}")
            ),
        )
        opened.on(
            "response",
            lambda response: problems.append(f"{response.status} {response.url}") if response.status >= 400 else None,
        )
        yield opened
        browser.close()
    assert not problems


def sign_in(page: Page, platform: Platform) -> None:
    """Signs in as the administrator."""
    page.goto(f"{platform.url}/login")
    page.fill("input[name=username]", ADMIN_EMAIL)
    page.fill("input[name=password]", ADMIN_PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "/login" not in url)


def test_docs_list_every_method_and_try_it_out_works(platform: Platform, page: Page) -> None:
    sign_in(page, platform)
    page.goto(f"{platform.url}/t/acme/staging/docs")
    page.wait_for_selector(".opblock", timeout=60_000)
    text = page.evaluate("fetch('/t/acme/staging/openapi.json').then(answer => answer.text())")
    paths = json.loads(text).get("paths")
    assert paths, text[:1000]
    offered = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    # An operation with two tags is listed twice.
    script = """blocks => blocks.map(block => [
        block.querySelector(".opblock-summary-method").textContent,
        block.querySelector("[data-path]").dataset.path,
    ])"""
    shown = {(method, path) for method, path in page.eval_on_selector_all(".opblock", script)}
    assert shown == offered
    assert len(offered) > 250

    block = page.locator(".opblock-get", has=page.locator("[data-path='/api/v1/pipelines']")).first
    block.locator(".opblock-summary-control").first.click()
    block.locator("button.try-out__btn").click()
    with page.expect_response(lambda response: "/t/acme/staging/api/v1/pipelines" in response.url) as caught:
        block.locator("button.execute").click()
    assert caught.value.status == 200


def test_docs_ask_a_stranger_to_sign_in(platform: Platform, page: Page) -> None:
    page.goto(f"{platform.url}/t/acme/staging/docs")
    assert "/login" in page.url


def test_api_docs_render_from_local_assets(platform: Platform, page: Page) -> None:
    page.goto(f"{platform.url}/api")
    page.wait_for_selector(".opblock", timeout=60_000)
    assert page.url.endswith("/api/docs")
    assert page.locator(".opblock").count() > 40
