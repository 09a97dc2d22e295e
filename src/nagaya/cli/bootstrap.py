"""The first start: keys, database, first administrator, and what `nagaya up` was asked to create."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nagaya.cli import resolve, wait
from nagaya.cli.errors import CliError, ExitCode
from nagaya.cli.service_user import as_service

if TYPE_CHECKING:
    from nagaya.cli.client import ApiClient
    from nagaya.cli.output import Output
    from nagaya.runtime.config import PlatformConfig


@dataclass(frozen=True)
class BootstrapResult:
    """What the first start made, and what a person must be told once.

    Args:
        setup_url: Single-use link by which the first administrator signs up; None when there is one already.
        admin_email: The administrator that was made now; None when there was one.
        token: Token of the oldest administrator for five minutes, to create what was asked for; None without one.
    """

    setup_url: str | None = None
    admin_email: str | None = None
    token: str | None = None


@dataclass(frozen=True)
class Wanted:
    """What `nagaya up` was asked to create, by name."""

    organization: str | None = None
    tenant: str | None = None


def bootstrap(config: PlatformConfig, *, admin_email: str | None, admin_password: str | None) -> BootstrapResult:
    """Makes keys, database and first administrator; every start calls it, and finds what an earlier one has made.

    Raises:
        CliError: a key file is damaged, the database is of a newer version, or the password breaks a rule.
    """
    from nagaya.errors import NagayaError  # noqa: PLC0415  (the database and every table: slow to import)
    from nagaya.identity.setup import bootstrap_admin  # noqa: PLC0415

    if admin_password and not admin_email:
        message = "NAGAYA_ADMIN_PASSWORD needs the administrator's address: --admin-email or NAGAYA_ADMIN_EMAIL."
        raise CliError(message, ExitCode.USAGE)

    def make() -> dict[str, str | None]:
        with platform_errors():
            try:
                made = bootstrap_admin(config, admin_email, admin_password)
            except NagayaError as error:
                raise CliError(error.detail, ExitCode.USAGE, error=error.code) from error
            return {"setup_url": made.setup_url, "admin_email": made.admin_email, "token": _token(config)}

    return BootstrapResult(**as_service(config, make))


def administrator_token(config: PlatformConfig) -> str | None:
    """A token of five minutes for the oldest administrator; None while there is none.

    Whoever may read the keys on this machine is the administrator already; this saves them the password.

    Raises:
        CliError: a key file is damaged, or the database cannot be used.
    """

    def make() -> dict[str, str | None]:
        with platform_errors():
            return {"token": _token(config)}

    return as_service(config, make)["token"]


def _token(config: PlatformConfig) -> str | None:
    from nagaya.app_state import create_state  # noqa: PLC0415
    from nagaya.http.settings import ApiSettings  # noqa: PLC0415
    from nagaya.identity.setup import issue_bootstrap_token  # noqa: PLC0415

    state = create_state(ApiSettings.from_platform(config))
    try:
        return issue_bootstrap_token(state)
    finally:
        state.database.close()


def create_wanted(api: ApiClient, out: Output, wanted: Wanted, *, timeout: float) -> resolve.Json | None:
    """Creates the organization and the tenant that do not exist yet; returns the tenant if one was asked for.

    Args:
        api: The platform, as its administrator.
        out: Where progress goes.
        wanted: The names.
        timeout: Longest wait for the tenant, seconds.
    """
    if not wanted.organization:
        return None
    if not any(item["name"] == wanted.organization for item in api.pages("/organizations")):
        api.post("/organizations", {"name": wanted.organization})
    if not wanted.tenant:
        return None
    home = resolve.organization(api, wanted.organization)
    found = list(api.pages("/tenants", tenant_name=wanted.tenant, organization_id=home["id"]))
    if found:
        first: resolve.Json = found[0]
        return first
    response = api.request("POST", "/tenants", json={"name": wanted.tenant, "organization_id": home["id"]})
    tenant: resolve.Json = response.json()
    operation = wait.operation_of(response.headers)
    if operation:
        wait.wait_for_operation(api, out, operation, timeout=timeout)
    fresh: resolve.Json = api.get(f"/tenants/{tenant['id']}")
    return fresh


@contextmanager
def platform_errors() -> Iterator[None]:
    """Turns what keys and database say about themselves into errors of the command."""
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from nagaya.db.errors import DatabaseUrlError, SchemaError, reason_of  # noqa: PLC0415
    from nagaya.identity.keys import KeyFileError  # noqa: PLC0415

    try:
        yield
    except (KeyFileError, DatabaseUrlError, SchemaError, ValueError) as error:
        code = ExitCode.UNAVAILABLE if isinstance(error.__cause__, SQLAlchemyError) else ExitCode.ERROR
        raise CliError(str(error), code, error=type(error).__name__) from error
    except SQLAlchemyError as error:
        raise CliError(reason_of(error), ExitCode.UNAVAILABLE, error="DatabaseError") from error
