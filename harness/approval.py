"""Signs in and approves a device through the platform's pages, the way a browser without scripts does."""

import re
import ssl
import urllib.parse
from html.parser import HTMLParser

import httpx

from harness.platform import ADMIN_EMAIL, ADMIN_PASSWORD


class _Forms(HTMLParser):
    """Collects the forms of a page with their fields."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str], dict[str, list[str]]]] = []
        self._select: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append((attributes.get("action", ""), {}, {}))
        elif self.forms and tag in ("input", "button") and "name" in attributes:
            name, value = attributes["name"], attributes.get("value", "")
            if attributes.get("type") == "radio":
                self.forms[-1][2].setdefault(name, []).append(value)
                if "checked" in attributes:
                    self.forms[-1][1][name] = value
            elif tag == "button" or attributes.get("type") == "submit":
                self.forms[-1][2].setdefault(name, []).append(value)
            else:
                self.forms[-1][1][name] = value
        elif self.forms and tag == "select":
            self._select = attributes.get("name")
        elif self.forms and tag == "option" and self._select:
            choices = self.forms[-1][2].setdefault(self._select, [])
            choices.append(attributes.get("value", ""))
            if "selected" in attributes or len(choices) == 1:
                self.forms[-1][1][self._select] = attributes.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = None


class Person:
    """Someone with a browser that keeps cookies and runs no scripts.

    Args:
        url: The platform's public URL.
        proxy: Address of an HTTP proxy that resolves the platform's name.
        context: What trusts the platform's certificate.
    """

    def __init__(self, url: str, *, proxy: str | None = None, context: ssl.SSLContext | None = None) -> None:
        self.url = url
        trusted = True if context is None else context
        self.browser = httpx.Client(follow_redirects=True, timeout=60, proxy=proxy, verify=trusted, trust_env=False)

    def close(self) -> None:
        """Closes the browser."""
        self.browser.close()

    def submit(self, page: httpx.Response, containing: str, **fields: str) -> httpx.Response:
        """Fills in and sends the form of `page` that has a field or button named `containing`.

        Args:
            page: The page with the form.
            containing: Name of a field or button by which the form is recognised.
            fields: What to fill in.
        """
        parser = _Forms()
        parser.feed(page.text)
        for action, values, choices in parser.forms:
            if containing in values or containing in choices:
                target = urllib.parse.urljoin(str(page.url), action)
                return self.browser.post(target, data={**values, **fields}, headers={"Origin": self.url})
        raise AssertionError(f"no form with {containing!r} on {page.url}: {page.text[:2000]}")

    def sign_in(self, email: str = ADMIN_EMAIL, password: str = ADMIN_PASSWORD) -> None:
        """Signs in on the sign-in page."""
        page = self.browser.get(f"{self.url}/login")
        answer = self.submit(page, "password", username=email, password=password)
        assert answer.status_code == 200, answer.text
        assert not re.search(r'name="password"', answer.text), "still on the sign-in page"

    def approve(self, url: str, tenant: str = "acme/staging", decision: str = "approve") -> httpx.Response:
        """Opens the page that the client opened and approves or denies.

        Args:
            url: The page.
            tenant: `organization/tenant` to choose.
            decision: `approve` or `deny`.
        """
        page = self.browser.get(url)
        assert page.status_code == 200, page.text
        option = re.search(rf'<option value="([^"]+)"[^>]*>{re.escape(tenant)}<', page.text)
        assert option is not None, f"{tenant} is not offered: {page.text}"
        return self.submit(page, "decision", decision=decision, tenant=option[1])
