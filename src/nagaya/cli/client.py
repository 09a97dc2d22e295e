"""The API client of the command line: paths and JSON in, JSON or a CliError out."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import httpx

from nagaya import __version__
from nagaya.cli.errors import CliError, ExitCode

API = "/api/v1"
PAGE = 1000
"""The API's largest page."""
TIMEOUT = httpx.Timeout(60.0, connect=10.0)
EXIT_BY_STATUS = {
    400: ExitCode.USAGE,
    401: ExitCode.FORBIDDEN,
    403: ExitCode.FORBIDDEN,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    410: ExitCode.NOT_FOUND,
    413: ExitCode.USAGE,
    422: ExitCode.USAGE,
    429: ExitCode.UNAVAILABLE,
    502: ExitCode.UNAVAILABLE,
    503: ExitCode.UNAVAILABLE,
    504: ExitCode.UNAVAILABLE,
}


class ApiClient:
    """One platform's API as one principal.

    Args:
        url: Public URL of the platform, without a trailing slash.
        token: Bearer token; None for calls that need none.
        host: Host header, if it must differ from the address that is connected to.
        verify: Which certificates are trusted, if not those of the system.
    """

    def __init__(
        self, url: str, token: str | None = None, *, host: str | None = None, verify: ssl.SSLContext | None = None
    ) -> None:
        self.url = url
        headers = {"User-Agent": f"nagaya/{__version__}", "Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if host:
            headers["Host"] = host
        trusted = True if verify is None else verify
        self._http = httpx.Client(base_url=url + API, headers=headers, timeout=TIMEOUT, verify=trusted)

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Sends one request; `arguments` are httpx's (`json`, `params`, `data`, `headers`).

        Raises:
            CliError: no answer, or an answer of 300 and above; the exit code fits the status.
        """
        if params := arguments.get("params"):
            arguments["params"] = {key: value for key, value in params.items() if value is not None}
        try:
            response = self._http.request(method, path, **arguments)
        except httpx.TimeoutException as error:
            raise CliError(f"{self.url} did not answer in time; try again.", ExitCode.UNAVAILABLE) from error
        except httpx.HTTPError as error:
            message = f"{self.url} cannot be reached: {error}. Is the platform running there (`nagaya up`)?"
            raise CliError(message, ExitCode.UNAVAILABLE) from error
        if response.status_code >= 300:
            raise api_error(response)
        return response

    def get(self, path: str, **params: Any) -> Any:
        """GETs JSON."""
        return self._json(self.request("GET", path, params=params))

    def post(self, path: str, body: Any = None) -> Any:
        """POSTs JSON; returns the answer's JSON, None for an empty answer."""
        return self._json(self.request("POST", path, json=body))

    def patch(self, path: str, body: Any = None) -> Any:
        """PATCHes JSON; returns the answer's JSON, None for an empty answer."""
        return self._json(self.request("PATCH", path, json=body))

    def delete(self, path: str, **params: Any) -> Any:
        """DELETEs; returns the answer's JSON, None for an empty answer."""
        return self._json(self.request("DELETE", path, params=params))

    def pages(self, path: str, **params: Any) -> Iterator[Any]:
        """Yields every item of a list: bare arrays, walked with `offset` until `X-Total-Count` is reached."""
        offset = 0
        while True:
            response = self.request("GET", path, params={**params, "offset": offset, "limit": PAGE})
            items = self._json(response)
            if not isinstance(items, list):
                raise CliError(f"{self.url} did not answer with a list; is it a Nagaya platform?")
            yield from items
            offset += len(items)
            if not items or offset >= int(response.headers.get("X-Total-Count", offset)):
                return

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def _json(self, response: httpx.Response) -> Any:
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise CliError(f"{self.url} answered something that is not JSON; is it a Nagaya platform?") from error


def api_error(response: httpx.Response) -> CliError:
    """The CliError of an answer: its `detail` and, for invalid input, the message of each field."""
    code = EXIT_BY_STATUS.get(response.status_code, ExitCode.ERROR)
    try:
        body = response.json()
    except ValueError:
        body = {}
    body = body if isinstance(body, dict) else {}
    detail = body.get("detail") or body.get("error_description") or body.get("error")
    if isinstance(detail, list):
        # ZenML's own shape, `[exception class, sentence]`: what a tenant or the gateway answers.
        detail = detail[-1] if detail and isinstance(detail[-1], str) else None
    fields = body.get("fields") or {}
    lines = [str(detail) if detail else f"The platform answered HTTP {response.status_code}."]
    lines += [f"  {name}: {message}" for name, message in fields.items()]
    if response.status_code == 401:
        lines.append("Sign in with `nagaya login`.")
    if code is ExitCode.ERROR and body.get("request_id"):
        lines.append(f"Request id: {body['request_id']}")
    return CliError("\n".join(lines), code, error=str(body["error"]) if body.get("error") else None)
