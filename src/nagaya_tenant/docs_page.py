"""The tenant's API page: Swagger UI from the platform's own origin, under a strict content security policy."""

from __future__ import annotations

import html
from urllib.parse import urlsplit

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="{assets}/swagger/swagger-ui.css">
<link rel="icon" href="{assets}/icon.svg" type="image/svg+xml">
</head>
<body>
{note}<div id="swagger-ui" data-openapi="openapi.json"></div>
<script src="{assets}/swagger/swagger-ui-bundle.js"></script>
<script src="{assets}/swagger/init.js"></script>
</body>
</html>
"""


_NOTE = """<p style="margin: 1em 2em; font-family: sans-serif">This host name is for programs: your browser's session
does not count here. Choose <em>Authorize</em> and paste a bearer token, or use the page of this API at
<a href="{public_url}">{public_url}</a>, where it does.</p>
"""


def render(public_url: str, root_path: str) -> bytes:
    """The page as UTF-8. It names the description relative to itself, so it serves below any prefix.

    Args:
        public_url: The platform's public origin, from where its scripts come.
        root_path: The tenant's path on the platform's origin, empty below a host name of its own, where no session
            reaches it.
    """
    page = _PAGE.format(
        note="" if root_path else _NOTE.format(public_url=html.escape(public_url, quote=True)),
        title=html.escape(f"API of {root_path.removeprefix('/t/') or 'this tenant'}"),
        assets=html.escape(f"{public_url}/assets", quote=True),
    )
    return page.encode()


def headers(public_url: str) -> tuple[tuple[str, str], ...]:
    """Response headers of the page; scripts and connections only to the origin that serves it.

    Args:
        public_url: The platform's public origin. The page may be below a host name of the tenant's own: connections
            go to where the page is.
    """
    parts = urlsplit(public_url)
    origin = f"{parts.scheme}://{parts.netloc}"
    policy = (
        f"default-src 'none'; script-src {origin}; style-src {origin} 'unsafe-inline'; img-src {origin} data:; "
        f"font-src {origin}; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return (
        ("content-security-policy", policy),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("x-frame-options", "DENY"),
    )
