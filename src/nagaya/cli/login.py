"""nagaya login, logout, whoami."""

from __future__ import annotations

import os
import socket
import sys
import time
import uuid
import webbrowser
from typing import Annotated, Any

import httpx
import typer

from nagaya.cli import context
from nagaya.cli.client import ApiClient, api_error
from nagaya.cli.context import Cli, command, platform_url
from nagaya.cli.credentials import Credential, Credentials
from nagaya.cli.errors import CliError, ExitCode

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def token_from(answer: dict[str, Any]) -> Credential:
    """The credential in an answer of `POST /auth/login` (`access_token`, `expires_in` in seconds)."""
    expires_in = answer.get("expires_in")
    expires = time.time() + float(expires_in) if expires_in else None
    return Credential(token=str(answer["access_token"]), expires=expires)


def with_password(url: str, email: str, password: str) -> Credential:
    """Signs in with e-mail address and password.

    Raises:
        CliError: the platform refuses.
    """
    client = ApiClient(url)
    try:
        form = {"grant_type": "password", "username": email, "password": password}
        return token_from(client.request("POST", "/auth/login", data=form).json())
    finally:
        client.close()


def with_device(cli: Cli, url: str) -> Credential:
    """Signs in through a browser: the device grant of RFC 8628.

    Raises:
        CliError: it was denied, or nobody approved in time.
    """
    client_id = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{socket.gethostname()}/{os.getuid()}"))
    client = ApiClient(url)
    try:
        start = client.request("POST", "/auth/device_authorization", data={"client_id": client_id}).json()
        address = start.get("verification_uri_complete") or start["verification_uri"]
        if str(address).startswith("/"):
            address = url + address
        cli.out.note(f"Open {address} and compare the code {start['user_code']}.")
        if sys.stderr.isatty():
            webbrowser.open(address)
        form = {"grant_type": DEVICE_GRANT, "client_id": client_id, "device_code": start["device_code"]}
        return poll_device(client, form, interval=float(start["interval"]), expires_in=float(start["expires_in"]))
    finally:
        client.close()


def poll_device(client: ApiClient, form: dict[str, str], *, interval: float, expires_in: float) -> Credential:
    """Asks for the token until it is there (RFC 8628 §3.4, §3.5)."""
    deadline = time.monotonic() + expires_in
    while time.monotonic() < deadline:
        time.sleep(interval)
        response = httpx.post(f"{client.url}/api/v1/auth/login", data=form, timeout=30)
        if response.status_code == 200:
            return token_from(response.json())
        error = response.json().get("error") if response.status_code == 400 else None
        if error == "slow_down":
            interval += 5
        elif error != "authorization_pending":
            raise api_error(response)
    raise CliError("Nobody approved the sign-in in time; try again.", ExitCode.FORBIDDEN)


app = typer.Typer(no_args_is_help=True)


@command(app)
def login(
    cli: Cli,
    platform: Annotated[str | None, typer.Argument(metavar="[URL]", help="The platform's public URL.")] = None,
    api_key: Annotated[
        bool, typer.Option("--api-key", help="Sign in with an API key; asked for, or piped in.")
    ] = False,
    email: Annotated[str | None, typer.Option(help="Sign in with this e-mail address and a password.")] = None,
    with_device_code: Annotated[
        bool, typer.Option("--device", help="Sign in through a browser (the default).")
    ] = False,
) -> None:
    """Sign in to a platform: through a browser, with a password, or with an API key."""
    if sum((api_key, email is not None, with_device_code)) > 1:
        raise CliError("Choose one of --api-key, --email and --device.", ExitCode.USAGE)
    url = platform_url(platform) if platform else cli.url
    if api_key:
        key = secret("API key")
        fresh = context.exchange_key(url, key)
        credential = Credential(fresh.token, fresh.expires, key)
    elif email is not None:
        if not email:
            raise CliError("--email is empty.", ExitCode.USAGE)
        credential = with_password(url, email, secret("Password"))
    else:
        credential = with_device(cli, url)
    client = ApiClient(url, credential.token)
    try:
        me = client.get("/users/me")
    finally:
        client.close()
    Credentials.load().put(url, credential)
    cli.out.result(f"Signed in to {url} as {name_of(me)}.", {"url": url, "user": me})


@command(app)
def logout(cli: Cli) -> None:
    """Forget the credentials of a platform, and end the session there."""
    url = cli.url
    credential = Credentials.load().platforms.get(url)
    if credential and (token := credential.live_token()):
        client = ApiClient(url, token)
        try:
            client.post("/auth/logout")
        except CliError as error:
            # The credentials must go from this machine even when the platform does not answer.
            cli.out.note(f"The session could not be ended at {url}: {error.message}")
        finally:
            client.close()
    known = Credentials.load().remove(url)
    sentence = f"Signed out of {url}." if known else f"You were not signed in to {url}."
    cli.out.result(sentence, {"url": url, "signed_out": known})


@command(app)
def whoami(cli: Cli) -> None:
    """Show who you are at the platform."""
    me = cli.api.get("/users/me")
    cli.out.item({"url": cli.url, **me}, {"url": "Platform", "username": "User", "email": "E-mail", "name": "Name"})


def secret(label: str) -> str:
    """Asks for a secret without showing it; reads one line where standard input is no terminal.

    Raises:
        CliError: nothing was given.
    """
    value = typer.prompt(label, hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    if not str(value).strip():
        raise CliError(f"{label}: nothing was given on standard input.", ExitCode.USAGE)
    return str(value).strip()


def name_of(user: dict[str, Any]) -> str:
    """How a user is addressed."""
    return str(user.get("email") or user.get("username") or user.get("name") or user.get("id"))
