"""What every command gets: the common options, the platform's address, a signed-in client, the output."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from typing import Annotated, Any

import typer

from nagaya.cli.client import ApiClient
from nagaya.cli.credentials import Credential, Credentials
from nagaya.cli.errors import CliError, ExitCode
from nagaya.cli.output import Output


class Cli:
    """One invocation of the command line.

    Args:
        as_json: Results as JSON.
        url: Platform to talk to, if given on the command line.
        debug: Show tracebacks.
    """

    def __init__(self, *, as_json: bool = False, url: str | None = None, debug: bool = False) -> None:
        self.out = Output(as_json=as_json)
        self.debug = debug or bool(os.environ.get("NAGAYA_DEBUG"))
        self._url = url
        self._api: ApiClient | None = None

    @property
    def url(self) -> str:
        """The platform: `--url`, `NAGAYA_URL`, the one signed in to last, or the one that runs on this machine.

        Raises:
            CliError: none of these.
        """
        found = self._url or os.environ.get("NAGAYA_URL") or Credentials.load().current or local_url()
        if not found:
            message = "No platform is known here. Say which with --url or NAGAYA_URL, or sign in: nagaya login URL"
            raise CliError(message, ExitCode.USAGE)
        return platform_url(found)

    @property
    def api(self) -> ApiClient:
        """A client that is signed in.

        Raises:
            CliError: there are no credentials for this platform, or they have expired.
        """
        if self._api is None:
            self._api = ApiClient(self.url, sign_in(self.url))
        return self._api

    def close(self) -> None:
        """Closes the connections to the platform, if there are any."""
        if self._api is not None:
            self._api.close()


def platform_url(text: str) -> str:
    """The origin in the form in which credentials are keyed.

    Raises:
        CliError: not an http or https address.
    """
    url = text.strip().rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise CliError(f"{text} is no address of a platform; it begins with http:// or https://.", ExitCode.USAGE)
    return url


def local_url() -> str | None:
    """The public URL of the platform with the default data directory on this machine, if it has ever been started."""
    from nagaya.cli.host import stored_config  # noqa: PLC0415  (settings are slow to import and seldom needed)

    config = stored_config()
    return config.public_url if config else None


def sign_in(url: str) -> str:
    """A bearer token for `url`: from NAGAYA_API_KEY, the stored token, or the stored API key, in this order.

    Raises:
        CliError: none of them works.
    """
    if key := os.environ.get("NAGAYA_API_KEY"):
        return exchange_key(url, key).token or ""
    credentials = Credentials.load()
    credential = credentials.platforms.get(url)
    if credential and (token := credential.live_token()):
        return token
    if credential and credential.api_key:
        fresh = exchange_key(url, credential.api_key)
        credentials.put(url, Credential(fresh.token, fresh.expires, credential.api_key))
        return fresh.token or ""
    state = "Your sign-in has expired" if credential else "You are not signed in"
    raise CliError(f"{state} at {url}. Sign in: nagaya login {url}", ExitCode.FORBIDDEN)


def exchange_key(url: str, key: str) -> Credential:
    """Exchanges an API key for a token, as stock clients do (`POST /auth/login`, form field `password`)."""
    from nagaya.cli.login import token_from  # noqa: PLC0415  (imports this module)

    client = ApiClient(url, key)
    try:
        answer = client.request("POST", "/auth/login", data={"password": key}).json()
    finally:
        client.close()
    return token_from(answer)


Command = Callable[..., None]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.", rich_help_panel="Common")]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", help="Platform to talk to.", envvar="NAGAYA_URL", metavar="URL", rich_help_panel="Common"),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.", rich_help_panel="Common")]
last: list[Cli] = []
"""The invocation that is running, for the error handler of `main`, which must know about --json and --debug."""


def command(app: typer.Typer, name: str | None = None) -> Callable[[Command], Command]:
    """Registers a command whose first parameter is the `Cli`; adds the common options `--json`, `--url`, `--debug`."""

    def register(function: Command) -> Command:
        signature = inspect.signature(function, eval_str=True)
        own = list(signature.parameters.values())[1:]

        @functools.wraps(function)
        def run(**values: Any) -> None:
            cli = Cli(as_json=values.pop("as_json"), url=values.pop("url"), debug=values.pop("debug"))
            last[:] = [cli]
            try:
                function(cli, **values)
            finally:
                cli.close()

        keyword = inspect.Parameter.KEYWORD_ONLY
        common = [
            inspect.Parameter("as_json", keyword, default=False, annotation=JsonOption),
            inspect.Parameter("url", keyword, default=None, annotation=UrlOption),
            inspect.Parameter("debug", keyword, default=False, annotation=DebugOption),
        ]
        parameters = [parameter.replace(kind=keyword) for parameter in own] + common
        # Typer reads the signature and the annotations of what it is given, not of the function below.
        vars(run)["__signature__"] = signature.replace(parameters=parameters)
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        app.command(name)(run)
        return function

    return register
