"""The path in front of a tenant's requests: its own, or below a host of its own what the gateway says it took off."""

from typing import Any

import pytest

from nagaya_tenant import docs_page
from nagaya_tenant.errors import BadRequest
from nagaya_tenant.guard_requests import Request


def read(path: str, root_path: str = "", prefix: str | None = None) -> Request:
    headers = [(b"host", b"h")]
    if prefix is not None:
        headers.append((b"X-Forwarded-Prefix", prefix.encode()))
    scope: dict[str, Any] = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": headers,
    }  # fmt: skip
    return Request.read(scope, root_path)


def test_a_tenant_by_path_has_its_own_prefix_whatever_is_said() -> None:
    request = read("/api/v1/tags", "/t/acme/one", "/t/evil/other")
    assert (request.path, request.prefix, request.scope["root_path"]) == ("/api/v1/tags", "/t/acme/one", "")
    assert read("/t/acme/one/api/v1/tags", "/t/acme/one").path == "/api/v1/tags"


def test_a_tenant_by_host_learns_by_which_way_a_request_came() -> None:
    request = read("/api/v1/tags")
    assert (request.path, request.prefix, request.scope["root_path"]) == ("/api/v1/tags", "", "")
    # Without a prefix nothing is taken off: this path is nobody's.
    assert read("/t/acme/one/api/v1/tags").path == "/t/acme/one/api/v1/tags"
    request = read("/api/v1/tags", prefix="/t/acme/one")
    assert (request.path, request.prefix, request.scope["root_path"]) == ("/api/v1/tags", "/t/acme/one", "/t/acme/one")


def test_a_prefix_does_not_lead_around_the_table() -> None:
    # The application would take a prefix that it is told off the path: it must be gone before a route is looked up.
    assert read("/t/acme/one/api/v1/tags", prefix="/t/acme/one").path == "/api/v1/tags"
    with pytest.raises(BadRequest, match="repeats the prefix"):
        read("/t/acme/one/t/acme/one/api/v1/tags", prefix="/t/acme/one")


@pytest.mark.parametrize("prefix", ["", "/", "/api/v1", "/t/acme", "/t/a/b/c", "/t/acme/one/", "//evil", "/t/A/b", "x"])
def test_what_is_no_prefix_is_none(prefix: str) -> None:
    request = read("/api/v1/tags", prefix=prefix)
    assert (request.path, request.prefix, request.scope["root_path"]) == ("/api/v1/tags", "", "")


def test_the_page_says_where_a_session_counts() -> None:
    by_host = docs_page.render("https://zenml.example.test", "").decode()
    by_path = docs_page.render("https://zenml.example.test", "/t/acme/one").decode()
    assert 'href="https://zenml.example.test"' in by_host
    assert "your browser's session" in by_host
    assert "your browser's session" not in by_path
    assert "API of acme/one" in by_path
    for page in (by_host, by_path):
        assert 'data-openapi="openapi.json"' in page
        assert "<script>" not in page
