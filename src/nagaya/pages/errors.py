"""Error pages for browsers."""

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from nagaya.errors import NagayaError
from nagaya.pages.rendering import render

API_PATHS = ("/api", "/internal", "/channel", "/assets", "/health", "/ready")


def wants_page(request: Request) -> bool:
    """Whether a person looks at the answer: not an API path, and the client prefers HTML."""
    return not request.url.path.startswith(API_PATHS) and "text/html" in request.headers.get("accept", "")


def error_page(request: Request, error: NagayaError) -> Response:
    """Returns the error as a page.

    Args:
        request: The request that failed.
        error: The error.
    """
    titles = {
        401: "Sign in first",
        403: "Not allowed",
        404: "Not found",
        405: "Not possible here",
        409: "Not possible now",
        410: "No longer valid",
        429: "Too many attempts",
        503: "Not available at the moment",
    }
    response: HTMLResponse = render(
        request,
        "error.html",
        title=titles.get(error.status, "Something is wrong" if error.status < 500 else "Something went wrong"),
        detail=error.detail,
        fields=error.fields,
        status=error.status,
        request_id=getattr(request.state, "request_id", None),
        status_code=error.status,
    )
    response.headers.update(error.headers)
    return response
