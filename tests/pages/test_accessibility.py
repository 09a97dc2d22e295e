"""What every page needs for people who do not see or point: language, title, landmarks, headings, names of controls."""

import datetime as dt
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from sqlalchemy import select

from nagaya.db.base import utc_now
from nagaya.gateway.answers import GatewayError
from nagaya.http.transactions import UnitOfWork
from nagaya.identity.service import users
from nagaya.identity.setup import first_admin, password_link
from nagaya.tenants.models import Tenant
from tests.api.world import Settled, World
from tests.pages.test_pages import get, sign_in, submit

VOID = {"meta", "link", "img", "input", "br", "hr"}
LANDMARKS = {"header", "main", "nav"}


class Page(HTMLParser):
    """Collects the elements of a page with their attributes, the ones around them, and their text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self.texts: list[str] = []
        self.unclosed: list[int] = []
        self.feed(html)
        assert not self.unclosed, "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        around = [self.elements[index][0] for index in self.unclosed]
        self.elements.append((tag, {name: value or "" for name, value in attrs}, around))
        self.texts.append("")
        if tag not in VOID:
            self.unclosed.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.unclosed.pop()][0] == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        for index in self.unclosed:
            self.texts[index] += data

    def all(self, *tags: str) -> Iterator[tuple[str, dict[str, str], str]]:
        for (tag, attributes, _around), text in zip(self.elements, self.texts, strict=True):
            if tag in tags:
                yield tag, attributes, " ".join(text.split())


def check(html: str) -> None:
    """Asserts the basics of one page."""
    page = Page(html)
    (_, root, _), (_, _, title) = next(page.all("html")), next(page.all("title"))
    assert root["lang"] == "en"
    assert re.fullmatch(r"\S.* · Nagaya", title)
    for landmark in ("header", "main", "h1"):
        assert len(list(page.all(landmark))) == 1, landmark
    inside = [around for tag, _, around in page.elements if tag in ("h1", "form", "input", "p")]
    assert all(LANDMARKS & set(around) for around in inside), "content is outside of the landmarks"
    levels = [int(tag[1]) for tag, _, _ in page.all("h1", "h2", "h3", "h4")]
    assert all(after <= before + 1 for before, after in zip([0, *levels], levels, strict=False)), levels
    check_names(page)


def check_names(page: Page) -> None:
    """Asserts that ids are unique and lead somewhere, and that every control, link and picture has a name."""
    ids = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)), ids
    for _, attributes, _ in page.elements:
        for name in ("for", "aria-labelledby", "aria-describedby", "list"):
            assert set(attributes.get(name, "").split()) <= set(ids), attributes
        assert not {"style", "onclick"} & set(attributes)
    labelled = {attributes["for"] for _, attributes, text in page.all("label") if text}
    for tag, attributes, _ in page.all("input", "select", "textarea"):
        if attributes.get("type") != "hidden" and "aria-hidden" not in attributes:
            assert attributes.get("id") in labelled, (tag, attributes)
        if attributes.get("type") == "password":
            assert attributes["autocomplete"] in {"current-password", "new-password"}
    for tag, attributes, text in page.all("a", "button", "th", "legend"):
        assert text or attributes.get("aria-label"), (tag, attributes)
    assert all("alt" in attributes for _, attributes, _ in page.all("img"))
    assert all(attributes.get("aria-label") for _, attributes, _ in page.all("nav"))


def test_pages_without_a_session(settled: Settled) -> None:
    browser = settled.world.browser()
    check(get(browser, "/login").text)
    check(submit(browser, "/login", "/login", username='"><b>', password="x", next="/").text)
    check(get(browser, "/setup?token=unknown").text)
    with UnitOfWork(settled.world.state.database) as work:
        link = password_link(work, settled.world.state, users.get(work, settled.admin.id))
    check(get(browser, link.removeprefix("http://nagaya.test")).text)


def test_the_page_of_the_first_administrator(world: World) -> None:
    with UnitOfWork(world.state.database) as work:
        link = first_admin(work, world.state, None, None).setup_url
    assert link is not None
    check(get(world.browser(), link.removeprefix("http://nagaya.test")).text)


@pytest.mark.parametrize("who", ["root", "ada", "mallory"])
def test_pages_with_a_session(settled: Settled, who: str) -> None:
    browser = sign_in(settled.world, who)
    made = submit(browser, "/account", "/account/api_keys", name='nightly "<b>"')
    assert "ZENPROKEY_" in made.text
    check(made.text)
    for path in (
        "/",
        "/account",
        "/o/acme",
        "/o/acme/tenants/new",
        "/organizations/new",
        "/devices/verify",
        "/nothing",
    ):
        check(get(browser, path).text)
    check(submit(browser, "/", "/o/acme/tenants", display_name="", name="-").text)
    check(submit(browser, "/", "/organizations", display_name="", tenant_stage="-").text)
    check(get(browser, "/devices/verify?user_code=ABCD-EFGH").text)
    client = {"client_id": "8f2ba5ff-6c0d-4c9e-9c5d-1f1f4e5c8f0a"}
    agent = {"User-Agent": "Host/laptop ZenML/0.98.0 Python/3.11.4 OS/Linux"}
    code = settled.world.made("POST", "/auth/device_authorization", data=client, headers=agent)["user_code"]
    address = f"/devices/verify?user_code={code}&workspace=unknown"
    check(get(browser, address).text)
    check(submit(browser, address, "/devices/verify", user_code=code, decision="deny").text)


@pytest.mark.parametrize(
    ("desired", "status", "activity", "label"),
    [
        ("available", "pending", "asleep", "Deploying"),
        ("available", "available", "awake", "Available"),
        ("available", "available", "asleep", "Asleep"),
        ("available", "failed", "asleep", "Failed"),
        ("deactivated", "pending", "awake", "Deactivating"),
        ("deactivated", "deactivated", "asleep", "Deactivated"),
        ("deleted", "pending", "awake", "Deleting"),
        ("deleted", "deleted", "asleep", "Deleted"),
    ],
)
def test_every_state_of_a_tenant_is_a_word(
    settled: Settled, desired: str, status: str, activity: str, label: str
) -> None:
    with UnitOfWork(settled.world.state.database) as work:
        tenant = work.session.scalars(select(Tenant)).one()
        tenant.desired_state, tenant.status, tenant.activity = desired, status, activity
        tenant.purge_after = utc_now() + dt.timedelta(days=1) if status == "deleted" else None
        tenant.display_name, tenant.status_reason = "מעבדה <script>" + "x" * 86, "Because of <b>this</b>."
    for who in ("root", "ada"):
        page = get(sign_in(settled.world, who), "/o/acme/t/staging")
        check(page.text)
        states = [text for _, attributes, text in Page(page.text).all("span") if "state" in attributes.get("class", "")]
        assert states == [label]
        assert "Because of &lt;b&gt;this&lt;/b&gt;." in page.text
        assert "<script>" not in page.text
        usable = label in ("Deploying", "Available", "Asleep")
        assert ("zenml login" in page.text) is usable
        assert ("nagaya tenant deploy acme/staging" in page.text) is (label in ("Failed", "Deactivated"))


def test_pages_that_the_gateway_makes_itself() -> None:
    for status in (403, 404, 410, 421, 502, 503, 504):
        reply = GatewayError(status, "X", "The tenant <b> is away.").reply(html=True, request_id=b"1")
        check(reply.body.decode())
        assert b"&lt;b&gt;" in reply.body


def test_the_icon_is_found_where_browsers_look_for_it(world: World) -> None:
    for path in ("/favicon.ico", "/assets/icon.svg"):
        answer = world.client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
