"""The page behind an invitation's link."""

from typing import Any

from tests.api.world import PASSWORD, Settled
from tests.pages.test_accessibility import check
from tests.pages.test_pages import field, get, sign_in, submit


def invite(settled: Settled, email: str = "grace@example.com") -> str:
    body = {"email": email, "tenants": [{"tenant": "staging", "roles": ["Editor"]}], "teams": ["vision <b>"]}
    settled.world.made("POST", "/teams", settled.admin, json={"name": "vision <b>", "organization": "acme"})
    made = settled.world.made("POST", "/organizations/acme/invitations", settled.admin, json=body)
    return str(made["link"]).removeprefix("http://nagaya.test")


def form(address: str, password: str = PASSWORD, repeated: str = PASSWORD) -> dict[str, str]:
    return {"token": address.partition("=")[2], "name": "Grace", "password": password, "repeated": repeated}


def test_somebody_new_joins_and_is_signed_in(settled: Settled) -> None:
    address, browser = invite(settled), settled.world.browser()
    page = get(browser, address)
    assert page.status_code == 200
    for text in ("Join acme", "grace@example.com", "In the tenant staging", "Developer", "vision &lt;b&gt;"):
        assert text in page.text
    assert page.headers["cache-control"] == "no-store"
    check(page.text)
    for bad in (form(address, "short", "short"), form(address, repeated="another one entirely")):
        assert submit(browser, address, "/invitation", **bad).status_code == 422
    done = submit(browser, address, "/invitation", **form(address))
    assert (done.status_code, done.headers["location"]) == (303, "/o/acme")
    assert "staging" in get(browser, "/o/acme").text
    assert get(settled.world.browser(), address).status_code == 410
    sign_in(settled.world, "grace@example.com")


def test_somebody_with_an_account_signs_in_first(settled: Settled) -> None:
    world, address = settled.world, invite(settled)
    world.user("grace")
    page = get(world.browser(), address)
    assert "Sign in to accept" in page.text
    check(page.text)
    assert "new-password" not in page.text
    next_page = f"/login?next=/invitation%3Ftoken%3D{address.partition('=')[2]}"
    assert next_page in page.text
    other = sign_in(world, "mallory")
    assert "this invitation is for somebody else" in get(other, address).text
    assert refused(other, address).status_code == 403
    browser = sign_in(world, "grace")
    mine = get(browser, address).text
    assert ">Accept</button>" in mine
    check(mine)
    done = submit(browser, address, "/invitation", token=address.partition("=")[2])
    assert (done.status_code, done.headers["location"]) == (303, "/o/acme")
    assert "set-cookie" not in done.headers or "nagaya=" not in done.headers["set-cookie"]


def refused(browser: Any, address: str) -> Any:
    return browser.post(
        "/invitation",
        data={"csrf": field(get(browser, "/"), "csrf"), "token": address.partition("=")[2]},
        headers={"Accept": "text/html"},
    )


def test_forms_from_elsewhere_and_wrong_links(settled: Settled) -> None:
    address, browser = invite(settled), settled.world.browser()
    get(browser, address)
    answer = browser.post("/invitation", data=form(address), headers={"Accept": "text/html"})
    assert answer.status_code == 403
    for wrong in ("/invitation", "/invitation?token=x", "/invitation?token=%00"):
        assert get(browser, wrong).status_code == 410
    settled.world.made("PATCH", f"/users/{settled.admin.id}", settled.root, json={"is_active": False})
    late = submit(browser, address, "/invitation", **form(address))
    assert late.status_code == 409
    assert "promises more than Ada can still give" in late.text
