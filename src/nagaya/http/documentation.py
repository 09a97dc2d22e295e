"""The OpenAPI page at /api/docs with local files only, and the static files of all pages."""

from pathlib import Path

import fastapi_offline
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

import nagaya
from nagaya.pages.rendering import HEADERS

_STATIC = Path(nagaya.__file__).with_name("static")
_INERT = "default-src 'none'; frame-ancestors 'none'; sandbox"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Nagaya API</title>
<link rel="stylesheet" href="/assets/swagger/swagger-ui.css">
<link rel="icon" href="/assets/icon.svg" type="image/svg+xml">
</head>
<body>
<div id="swagger-ui" data-openapi="/api/openapi.json"></div>
<noscript>This page needs JavaScript. Its contents: <a href="/api/openapi.json">/api/openapi.json</a></noscript>
<script src="/assets/swagger/swagger-ui-bundle.js"></script>
<script src="/assets/swagger/init.js"></script>
</body>
</html>
"""


class Assets(StaticFiles):
    """Static files with headers that forbid guessing their type and let browsers keep them for an hour."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Returns the file at `path`."""
        response = await super().get_response(path, scope)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "public, max-age=3600"
        response.headers["Content-Security-Policy"] = _INERT
        return response


def _swagger_directories() -> list[Path]:
    return [_STATIC / "swagger", Path(fastapi_offline.__file__).with_name("static")]


async def _docs(_request: Request) -> Response:
    # Swagger UI sets inline styles and shows images from data URLs; scripts stay limited to our own files.
    policy = HEADERS["Content-Security-Policy"].replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
    return HTMLResponse(_PAGE, headers=HEADERS | {"Content-Security-Policy": policy})


async def _favicon(_request: Request) -> Response:
    # Browsers and password managers ask for this path whatever a page names; they go by the type, not by the ending.
    icon = (_STATIC / "icon.svg").read_bytes()
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "public, max-age=86400"}
    return Response(icon, media_type="image/svg+xml", headers=headers | {"Content-Security-Policy": _INERT})


async def _redirect(_request: Request) -> Response:
    return RedirectResponse("/api/docs", status_code=307)


def install(app: FastAPI) -> None:
    """Adds the OpenAPI page, its redirects and `/assets`.

    Args:
        app: The application.
    """
    app.add_route("/api/docs", _docs, include_in_schema=False)
    app.add_route("/favicon.ico", _favicon, include_in_schema=False)
    app.add_route("/api", _redirect, include_in_schema=False)
    app.add_route("/api/", _redirect, include_in_schema=False)
    swagger = Assets(directory=_swagger_directories()[0])
    swagger.all_directories = [*_swagger_directories()]
    app.mount("/assets/swagger", swagger, name="swagger")
    app.mount("/assets", Assets(directory=_STATIC), name="assets")
