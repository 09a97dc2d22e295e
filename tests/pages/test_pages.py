"""The server-rendered pages: set-up, sign-in, forms from elsewhere, redirects, device approval, tenants."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.testclient import TestClient

from nagaya.http.transactions import UnitOfWork
from nagaya.identity.setup import first_admin
from nagaya.pages.browser import safe_next
from nagaya.pages.rendering import markdown
from tests.api.world import NEW_PASSWORD, PASSWORD, Settled, World

HTML = {"Accept": "text/html"}


def get(browser: TestClient, path: str) -> Any:
    return browser.get(path, headers=HTML)


def field(page: Any, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert found is not None, page.text
    return found[1]


def submit(browser: TestClient, page: str, path: str, **fields: str) -> Any:
    token = field(get(browser, page), "csrf")
    return browser.post(path, data={"csrf": token} | fields, headers=HTML)


def sign_in(world: World, username: str, password: str = PASSWORD) -> TestClient:
    browser = world.browser()
    answer = submit(browser, "/login", "/login", username=username, password=password, next="/")
    assert answer.status_code == 303, answer.text
    return browser


def link(world: World) -> str:
    with UnitOfWork(world.state.database) as work:
        url = first_admin(work, world.state, None, None).setup_url
    assert url is not None
    return url.removeprefix("http://nagaya.test")


def use(world: World, address: str, password: str = PASSWORD) -> Any:
    browser = world.browser()
    page = get(browser, address)
    if page.status_code != 200:
        return page
    form = {"token": field(page, "token"), "email": "root@example.com", "password": password, "repeated": password}
    return browser.post("/setup", data={"csrf": field(page, "csrf")} | form, headers=HTML)


def test_the_set_up_link_works_once_and_only_the_newest(world: World) -> None:
    old, new = link(world), link(world)
    assert use(world, old).status_code == 410
    assert use(world, new, "short").status_code == 422
    done = use(world, new)
    assert done.status_code == 303
    assert "nagaya=" in done.headers["set-cookie"]
    assert use(world, new).status_code == 410
    with UnitOfWork(world.state.database) as work:
        assert first_admin(work, world.state, None, None).setup_url is None
    sign_in(world, "root@example.com")


def test_the_set_up_link_expires(world: World) -> None:
    address = link(world)
    world.clock.forward(86_401)
    assert use(world, address).status_code == 410


def test_of_two_who_use_the_link_at_once_one_wins(world: World) -> None:
    address = link(world)
    with ThreadPoolExecutor(2) as pool:
        statuses = sorted(answer.status_code for answer in pool.map(lambda _: use(world, address), range(2)))
    assert statuses == [303, 410]


def test_a_page_needs_a_sign_in_and_leads_back(settled: Settled) -> None:
    browser = settled.world.browser()
    answer = get(browser, "/o/acme?x=1")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Fo%2Facme%3Fx%3D1"
    page = get(browser, answer.headers["location"])
    form = {"csrf": field(page, "csrf"), "next": field(page, "next"), "username": "ada"}
    wrong = browser.post("/login", data=form | {"password": "wrong"}, headers=HTML)
    assert wrong.status_code == 401
    assert "User name or password is wrong." in wrong.text
    right = browser.post("/login", data=form | {"password": PASSWORD}, headers=HTML)
    assert right.status_code == 303
    assert right.headers["location"] == "/o/acme?x=1"
    cookie = right.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "staging" in get(browser, "/o/acme").text
    left = submit(browser, "/", "/logout")
    assert left.status_code == 303
    assert get(browser, "/").status_code == 303


@pytest.mark.parametrize(
    "target",
    [
        "//evil.test",
        "https://evil.test",
        "/\\evil.test",
        "\\\\evil",
        "javascript:alert(1)",
        "evil",
        "/a\\b",
        "/\x00",
        "",
        None,
    ],
)
def test_nobody_is_sent_to_another_origin(target: str | None) -> None:
    assert safe_next(target) == "/"


def test_forms_from_elsewhere_change_nothing(settled: Settled) -> None:
    browser = sign_in(settled.world, "ada")
    token = field(get(browser, "/account"), "csrf")
    before = settled.world.audited()
    path = "/account/api_keys"
    other = field(get(sign_in(settled.world, "ada"), "/account"), "csrf")
    before = settled.world.audited()
    for data, headers in (
        ({"name": "x"}, {}),
        ({"name": "x", "csrf": "guess"}, {}),
        ({"name": "x", "csrf": other}, {}),
        ({"name": "x", "csrf": token}, {"Sec-Fetch-Site": "cross-site"}),
        ({"name": "x", "csrf": token}, {"Origin": "http://evil.test"}),
    ):
        assert browser.post(path, data=data, headers=HTML | headers).status_code == 403
    assert settled.world.audited() == before
    made = browser.post(path, data={"name": "x", "csrf": token}, headers=HTML | {"Origin": "http://nagaya.test"})
    assert "ZENPROKEY_" in made.text


def test_every_page_forbids_foreign_content_and_caches(settled: Settled) -> None:
    browser = sign_in(settled.world, "ada")
    pages = ["/", "/account", "/o/acme", "/o/acme/t/staging", "/devices/verify", "/nothing", "/o/nothing"]
    for path in [*pages, "/o/acme/workspaces/staging/projects/x/runs/y"]:
        answer = get(browser, path)
        assert answer.status_code == (404 if "nothing" in path else 200), path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "<script>" not in answer.text
        assert "style=" not in answer.text
    for asset in ("nagaya.css", "nagaya.js", "icon.svg", "swagger/swagger-ui.css", "swagger/init.js"):
        assert browser.get(f"/assets/{asset}").status_code == 200
    assert browser.get("/api/").headers["location"] == browser.get("/api").headers["location"] == "/api/docs"
    assert "swagger-ui-bundle.js" in browser.get("/api/docs").text


def test_links_that_stock_clients_print_lead_to_our_pages(settled: Settled) -> None:
    browser = sign_in(settled.world, "ada")
    organization, tenant = settled.organization["id"], settled.tenant["id"]
    old = f"organizations/{organization}/tenants/{tenant}"
    by_name = ("/workspaces/staging", "/workspaces/staging/projects/x")
    for link in (f"/o/acme/{old}", f"/{old}", f"/o/acme/{old}/runs/7", *by_name):
        answer = get(browser, link)
        assert (answer.status_code, answer.headers["location"]) == (303, "/o/acme/t/staging"), link
    for link in (f"/o/acme/organizations/{organization}", f"/organizations/{organization}"):
        assert get(browser, link).headers["location"] == "/o/acme"
    stranger = sign_in(settled.world, "mallory")
    for link in (f"/{old}", f"/organizations/{organization}", "/workspaces/staging", f"/o/other/{old}"):
        assert get(stranger, link).status_code == 404, link
    assert "/login" in get(settled.world.browser(), f"/{old}").headers["location"]


def test_a_device_is_approved_on_the_page_with_the_hint_preselected(settled: Settled) -> None:
    world = settled.world
    agent = {"User-Agent": "Host/<b>laptop</b> ZenML/0.98.0 Python/3.11.4 OS/Linux"}
    client = "8f2ba5ff-6c0d-4c9e-9c5d-1f1f4e5c8f0a"
    begun = world.made("POST", "/auth/device_authorization", data={"client_id": client}, headers=agent)
    browser = sign_in(world, "ada")
    address = f"/devices/verify?user_code={begun['user_code']}&workspace=staging"
    page = get(browser, address)
    assert begun["user_code"] in page.text
    assert "&lt;b&gt;laptop&lt;/b&gt;" in page.text
    assert f'<option value="{settled.tenant["id"]}" selected>' in page.text
    fields = {"user_code": begun["user_code"], "decision": "approve"}
    assert submit(browser, address, "/devices/verify", **fields).status_code == 422
    done = submit(browser, address, "/devices/verify", tenant=settled.tenant["id"], **fields)
    assert "The client is signed in" in done.text
    again = browser.post(
        "/devices/verify", data={"csrf": field(get(browser, "/account"), "csrf")} | fields, headers=HTML
    )
    assert again.status_code == 404
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "client_id": client,
        "device_code": begun["device_code"],
    }
    assert world.made("POST", "/auth/login", data=form)["device_metadata"]["tenant_id"] == settled.tenant["id"]


def test_a_tenant_is_made_on_the_page(settled: Settled) -> None:
    browser = sign_in(settled.world, "ada")
    made = submit(browser, "/o/acme", "/o/acme/tenants", display_name="Night Shift", description="")
    assert made.status_code == 303, made.text
    assert made.headers["location"] == "/o/acme/t/night-shift"
    page = get(browser, "/o/acme/t/night-shift")
    assert "zenml login http://nagaya.test/t/acme/night-shift" in page.text
    again = submit(browser, "/o/acme", "/o/acme/tenants", display_name="Night Shift", description="")
    assert again.status_code == 409
    assert submit(browser, "/o/acme", "/o/acme/tenants", display_name="").status_code == 422
    stranger = sign_in(settled.world, "mallory")
    assert get(stranger, "/o/acme/t/staging").status_code == 404


def test_the_account_page_changes_the_password_and_ends_sessions(settled: Settled) -> None:
    world = settled.world
    browser = sign_in(world, "ada")
    wrong = submit(
        browser, "/account", "/account/password", old_password="x", password=NEW_PASSWORD, repeated=NEW_PASSWORD
    )
    assert wrong.status_code == 422
    done = submit(
        browser, "/account", "/account/password", old_password=PASSWORD, password=NEW_PASSWORD, repeated=NEW_PASSWORD
    )
    assert "was changed" in done.text
    assert world.call("GET", "/users/me", settled.admin).status_code == 401
    other = world.again(settled.admin)
    assert submit(browser, "/account", f"/account/sessions/{other.session_id}/end").status_code == 303
    assert world.call("GET", "/users/me", other).status_code == 401


def test_markdown_cannot_do_anything() -> None:
    html = markdown("# Hi\n<script>x</script>\n[a](javascript:alert(1)) [b](https://ok.test) ![i](https://x/y.png)")
    assert "<h1>Hi</h1>" in html
    assert "<script" not in html
    assert 'href="javascript' not in html
    assert "<img" not in html
    assert 'href="https://ok.test"' in html


def test_an_organization_is_made_with_its_first_tenant_or_not_at_all(settled: Settled) -> None:
    world = settled.world
    browser = sign_in(world, "root")
    assert "/organizations/new" in get(browser, "/").text
    page = "/organizations/new"
    fields = {"display_name": "Vision Lab", "description": "Cameras", "tenant_display_name": "Night Shift"}
    wrong = submit(browser, page, "/organizations", **fields, tenant_stage="Not A Stage")
    assert wrong.status_code == 422
    assert 'value="Not A Stage"' in wrong.text
    assert 'aria-describedby="tenant_stage-hint tenant_stage-problem" aria-invalid="true"' in wrong.text
    assert world.call("GET", "/organizations/vision-lab", settled.root).status_code == 404
    made = submit(browser, page, "/organizations", **fields, tenant_stage="staging")
    assert (made.status_code, made.headers["location"]) == (303, "/o/vision-lab/t/night-shift")
    tenant = world.made("GET", "/tenants/vision-lab/night-shift", settled.root)
    assert (tenant["display_name"], tenant["stage"]) == ("Night Shift", "staging")
    assert "was taken" in submit(browser, page, "/organizations", display_name="Vision Lab").text
    assert submit(browser, page, "/organizations", display_name="").status_code == 422
    alone = submit(browser, page, "/organizations", display_name="Empty", name="empty-one")
    assert alone.headers["location"] == "/o/empty-one"
    assert "No tenants yet" in get(browser, "/o/empty-one").text
    other = sign_in(world, "ada")
    assert "/organizations/new" not in get(other, "/").text
    assert get(other, page).status_code == 403
    assert submit(other, "/", "/organizations", display_name="Mine").status_code == 403


def test_the_form_of_a_new_tenant_keeps_what_was_typed_and_marks_what_is_wrong(settled: Settled) -> None:
    browser = sign_in(settled.world, "ada")
    form = "/o/acme/tenants/new"
    typed = {"display_name": 'Ops "<b>"', "name": "No Slug", "stage": "UPPER", "description": "</textarea>"}
    page = submit(browser, form, "/o/acme/tenants", **typed)
    assert page.status_code == 422
    for kept in ("Ops &#34;&lt;b&gt;&#34;", 'value="No Slug"', 'value="UPPER"', "&lt;/textarea&gt;"):
        assert kept in page.text
    assert page.text.count('aria-invalid="true"') == 2
    assert "Must be up to 30 lower-case letters" in page.text
    nameless = submit(browser, form, "/o/acme/tenants", display_name="實驗室")
    assert "No name can be made from" in nameless.text
    named = submit(browser, form, "/o/acme/tenants", display_name="實驗室", name="lab", stage="production")
    assert named.headers["location"] == "/o/acme/t/lab"
    assert "production" in get(browser, "/o/acme/t/lab").text
    assert get(sign_in(settled.world, "mallory"), form).status_code == 404
