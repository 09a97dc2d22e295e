"""Renders templates with the headers that every page has."""

from pathlib import Path
from typing import Any

import nh3
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from nagaya.pages import wording

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
)
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_TAGS = frozenset(
    {"p", "a", "em", "strong", "code", "pre", "ul", "ol", "li", "blockquote", "hr", "br", "del"}
    | {"h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"}
)
_SCHEMES = {"http", "https", "mailto"}
_markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
_environment = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters.update(
    state=wording.state_shown, initials=wording.initials, agent=wording.agent, sentence=wording.sentence
)


def render(request: Request, template: str, *, status_code: int = 200, **context: Any) -> HTMLResponse:
    """Returns a page.

    Args:
        request: The request that it answers.
        template: Name of the template.
        status_code: HTTP status.
        context: What the template shows.
    """
    principal = getattr(request.state, "principal", None)
    csrf = getattr(request.state, "csrf", "")
    shown = {"principal": principal, "csrf": csrf, "path": request.url.path, "error": None, "notice": None}
    body = _environment.get_template(template).render(shown | context)
    response = HTMLResponse(body, status_code=status_code, headers=HEADERS)
    give_csrf_cookie(request, response)
    return response


def give_csrf_cookie(request: Request, response: Response) -> None:
    """Sets the cookie that the forms' tokens are bound to, if the browser does not have one yet."""
    fresh: tuple[str, str, bool] | None = getattr(request.state, "csrf_cookie", None)
    if fresh is not None:
        name, value, secure = fresh
        response.set_cookie(name, value, path="/", secure=secure, httponly=True, samesite="strict")


def markdown(text: str) -> Markup:
    """Returns a person's Markdown as HTML that cannot do anything: no raw HTML, no scripts, no styles.

    Args:
        text: CommonMark.
    """
    attributes = {"a": {"href", "title"}, "code": {"class"}}
    html = nh3.clean(_markdown.render(text), tags=set(_TAGS), attributes=attributes, url_schemes=_SCHEMES)
    return Markup(html)  # noqa: S704 - the line above is what makes it safe.
