"""nagaya tenant: isolated ZenML servers."""

from __future__ import annotations

import webbrowser
from typing import Annotated, Any

import typer

from nagaya.cli import resolve, tenant_enrollment, tenant_members, wait
from nagaya.cli.connect import connection_lines
from nagaya.cli.context import Cli, command
from nagaya.cli.errors import CliError, ExitCode

app = typer.Typer(no_args_is_help=True, help="Tenants: isolated ZenML servers.")
app.add_typer(tenant_members.app, name="members")
tenant_enrollment.register(app)

TenantName = Annotated[
    str, typer.Argument(metavar="TENANT", help="NAME if it is unambiguous, ORGANIZATION/NAME, or an id.")
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return at once; the operation goes on.")]
Timeout = Annotated[float, typer.Option(min=1, help="Longest wait, seconds.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
COLUMNS = {
    "organization.name": "ORGANIZATION",
    "name": "NAME",
    "status": "STATUS",
    "activity": "ACTIVITY",
    "zenml_service.configuration.version": "ZENML",
    "stage": "STAGE",
    "url": "URL",
}
FIELDS = {
    "name": "Name",
    "display_name": "Display name",
    "organization.name": "Organization",
    "id": "Id",
    "description": "Description",
    "stage": "Stage",
    "labels": "Labels",
    "status": "Status",
    "state_reason": "Reason",
    "desired_state": "Wanted",
    "activity": "Activity",
    "zenml_service.configuration.version": "ZenML",
    "url": "URL",
    "enrolled": "Runs elsewhere",
    "last_seen": "Last seen",
    "usage_counts": "Usage",
    "protected": "Protected",
    "hibernate": "Sleeps when idle",
    "idle_seconds": "Idle seconds",
    "created": "Created",
    "updated": "Updated",
}


@command(app, "list")
def list_(
    cli: Cli,
    *,
    organization: Annotated[str | None, typer.Option(help="Only those of this organization.")] = None,
    status: Annotated[str | None, typer.Option(help="Only those with this status, such as available.")] = None,
    stage: Annotated[str | None, typer.Option(help="Only those of this stage, such as production.")] = None,
    label: Annotated[str | None, typer.Option(metavar="KEY=VALUE", help="Only those with this label.")] = None,
    search: Annotated[str | None, typer.Option(help="Only those whose name or description holds this text.")] = None,
    sort: Annotated[str | None, typer.Option(help="Field to sort by, such as name or -created.")] = None,
) -> None:
    """List the tenants that you may see."""
    home = resolve.organization(cli.api, organization)["id"] if organization else None
    filters = {"status": status, "stage": stage, "label": label, "search": search, "sort": sort}
    rows = list(cli.api.pages("/tenants", organization_id=home, **filters))
    cli.out.table(rows, COLUMNS, empty="No tenants. nagaya tenant create NAME")


@command(app)
def create(
    cli: Cli,
    *,
    name: Annotated[str, typer.Argument(help="NAME or ORGANIZATION/NAME; lower-case letters, digits, single hyphens.")],
    organization: Annotated[str | None, typer.Option(help="Organization, if you have more than one.")] = None,
    display_name: Annotated[str | None, typer.Option(help="Name for people; can change.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    stage: Annotated[str | None, typer.Option(help="Stage, such as staging or production.")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Label; may be repeated.")] = None,
    version: Annotated[str | None, typer.Option(help="ZenML version; see `nagaya engine list`.")] = None,
    hibernate: Annotated[bool | None, typer.Option(help="Sleep when idle.")] = None,
    idle_seconds: Annotated[int | None, typer.Option(min=1, help="Seconds without requests before it sleeps.")] = None,
    no_wait: NoWait = False,
    timeout: Timeout = wait.DEFAULT_TIMEOUT,
) -> None:
    """Make a tenant and wait until it serves."""
    first, slash, second = name.partition("/")
    if slash and organization and organization != first:
        raise CliError(f"The name says {first} and --organization says {organization}: which one?", ExitCode.USAGE)
    home = resolve.organization_or_only(cli.api, first if slash else organization)
    body = {
        "name": second if slash else name,
        "organization_id": home["id"],
        "display_name": display_name,
        "description": description,
        "stage": stage,
        "labels": parse_labels(label) if label else None,
        "version": version,
        "hibernate": hibernate,
        "idle_seconds": idle_seconds,
    }
    wanted = {key: value for key, value in body.items() if value is not None}
    tenant = act(cli, "POST", "/tenants", wanted, no_wait=no_wait, timeout=timeout)
    label_text = resolve.full_name(tenant)
    cli.out.result(f"Tenant {label_text} is {tenant['status']} at {tenant['url']}.", tenant)
    if tenant["status"] == "available":
        cli.out.note(f"Connect to it: nagaya tenant connect {label_text}")


@command(app)
def show(cli: Cli, tenant: TenantName) -> None:
    """Show a tenant."""
    cli.out.item(resolve.tenant(cli.api, tenant), FIELDS)


@command(app, "open")
def open_(cli: Cli, tenant: TenantName) -> None:
    """Open a tenant's page in the browser."""
    found = resolve.tenant(cli.api, tenant)
    address = found["dashboard_url"]
    cli.out.result(address, {"url": address})
    webbrowser.open(address)


@command(app)
def deactivate(cli: Cli, tenant: TenantName, no_wait: NoWait = False, timeout: Timeout = wait.DEFAULT_TIMEOUT) -> None:
    """Stop a tenant and keep its data; it answers nobody until it is deployed again."""
    found = resolve.tenant(cli.api, tenant)
    changed = act(cli, "PATCH", f"/tenants/{found['id']}/deactivate", None, no_wait=no_wait, timeout=timeout)
    cli.out.result(f"Tenant {resolve.full_name(changed)} is {changed['status']}.", changed)


@command(app)
def deploy(cli: Cli, tenant: TenantName, no_wait: NoWait = False, timeout: Timeout = wait.DEFAULT_TIMEOUT) -> None:
    """Bring a deactivated or failed tenant back into service."""
    found = resolve.tenant(cli.api, tenant)
    changed = act(cli, "PATCH", f"/tenants/{found['id']}/deploy", None, no_wait=no_wait, timeout=timeout)
    cli.out.result(f"Tenant {resolve.full_name(changed)} is {changed['status']}.", changed)


@command(app)
def delete(
    cli: Cli,
    *,
    tenant: TenantName,
    unprotect: Annotated[bool, typer.Option("--unprotect", help="Take the protection off first.")] = False,
    yes: Yes = False,
    no_wait: NoWait = False,
    timeout: Timeout = wait.DEFAULT_TIMEOUT,
) -> None:
    """Delete a tenant; it can be restored for seven days. Tenants are protected: take that off with --unprotect."""
    found = resolve.tenant(cli.api, tenant)
    label = resolve.full_name(found)
    if not yes:
        typer.confirm(f"Delete the tenant {label}? It can be restored for seven days.", abort=True, err=True)
    if unprotect:
        cli.api.patch(f"/tenants/{found['id']}", {"protected": False})
    changed = act(cli, "DELETE", f"/tenants/{found['id']}", None, no_wait=no_wait, timeout=timeout, gone=found)
    cli.out.result(f"Tenant {label} has been deleted. Restore it: nagaya tenant restore {found['id']}", changed)


@command(app)
def restore(cli: Cli, tenant: TenantName, no_wait: NoWait = False, timeout: Timeout = wait.DEFAULT_TIMEOUT) -> None:
    """Bring a deleted tenant back, with all its data, within seven days."""
    tenant_id = tenant if resolve.is_id(tenant) else deleted_tenant(cli, tenant)["id"]
    changed = act(cli, "POST", f"/tenants/{tenant_id}/restore", None, no_wait=no_wait, timeout=timeout)
    cli.out.result(f"Tenant {resolve.full_name(changed)} is {changed['status']}.", changed)


@command(app)
def logs(
    cli: Cli,
    tenant: TenantName,
    lines: Annotated[int, typer.Option(min=1, max=10_000, help="How many of the last lines.")] = 100,
) -> None:
    """Print the last lines of a tenant's server log."""
    found = resolve.tenant(cli.api, tenant)
    answer = cli.api.get(f"/tenants/{found['id']}/logs", lines=lines)
    if cli.out.as_json:
        cli.out.json(answer)
    elif answer["lines"]:
        cli.out.plain("\n".join(answer["lines"]))
    else:
        cli.out.note("The log is empty.")


@command(app)
def connect(cli: Cli, tenant: TenantName) -> None:
    """Print the lines that connect a stock ZenML client to a tenant."""
    found = resolve.tenant(cli.api, tenant)
    version = (found["zenml_service"].get("configuration") or {}).get("version")
    if not found["url"]:
        raise CliError(
            f"{resolve.full_name(found)} has no address yet: its server has not reported.", ExitCode.UNAVAILABLE
        )
    lines = connection_lines(found["url"], cli.url, version)
    if cli.out.as_json:
        cli.out.json({"server_url": found["url"], "pro_api_url": f"{cli.url}/api/v1", "lines": lines})
    else:
        cli.out.plain("\n".join(lines))


def act(
    cli: Cli, method: str, path: str, body: Any, *, no_wait: bool, timeout: float, gone: resolve.Json | None = None
) -> resolve.Json:
    """Sends a change of a tenant, waits for its operation, and returns the tenant as it is then.

    Args:
        cli: The invocation.
        method: HTTP method.
        path: Path below the API.
        body: JSON body or None.
        no_wait: Return at once.
        timeout: Longest wait, seconds.
        gone: The tenant as it was, for an action after which it can no longer be read.
    """
    response = cli.api.request(method, path, json=body)
    answer: resolve.Json = response.json() if response.content else {}
    operation = wait.operation_of(response.headers)
    if operation and not no_wait:
        wait.wait_for_operation(cli.api, cli.out, operation, timeout=timeout)
        if gone is None:
            fresh: resolve.Json = cli.api.get(f"/tenants/{answer['id']}")
            return fresh
    elif operation:
        cli.out.note(f"Operation {operation} goes on; watch it: nagaya operation watch {operation}")
    return answer or gone or {}


def deleted_tenant(cli: Cli, name: str) -> resolve.Json:
    """The deleted tenant with this name.

    Raises:
        CliError: there is none, or there are several.
    """
    first, slash, second = name.partition("/")
    found = list(cli.api.pages("/tenants", tenant_name=second if slash else name, status="deleted"))
    if slash:
        found = [item for item in found if item["organization"]["name"] == first]
    if len(found) == 1:
        only: resolve.Json = found[0]
        return only
    if not found:
        raise CliError(f"There is no deleted tenant {name} that could be restored.", ExitCode.NOT_FOUND)
    choices = ", ".join(item["id"] for item in found)
    raise CliError(f"There are several deleted tenants {name}: say which id of {choices}.", ExitCode.USAGE)


def parse_labels(labels: list[str]) -> dict[str, str]:
    """`["team=vision"]` as a mapping.

    Raises:
        CliError: one has no `=`.
    """
    parsed = {}
    for text in labels:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise CliError(f"The label {text} must be written KEY=VALUE.", ExitCode.USAGE)
        parsed[key] = value
    return parsed
