"""nagaya operation: long actions and how they went."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nagaya.cli import resolve, wait
from nagaya.cli.context import Cli, command

app = typer.Typer(no_args_is_help=True, help="Long actions and how they went.")

OperationId = Annotated[str, typer.Argument(help="Id of the operation.")]
COLUMNS = {
    "id": "ID",
    "kind": "KIND",
    "status": "STATUS",
    "tenant_id": "TENANT",
    "created": "STARTED",
    "error": "ERROR",
}
FIELDS = {
    "id": "Id",
    "kind": "Kind",
    "status": "Status",
    "tenant_id": "Tenant",
    "created": "Started",
    "finished": "Finished",
    "failures": "Failed tries",
    "error": "Error",
}


@command(app, "list")
def list_(
    cli: Cli,
    tenant: Annotated[str | None, typer.Option(help="Only those of this tenant.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, newest first.")] = 20,
) -> None:
    """List operations, newest first."""
    tenant_id = resolve.tenant(cli.api, tenant)["id"] if tenant else None
    rows = cli.api.get("/operations", tenant_id=tenant_id, limit=limit)
    cli.out.table(rows, COLUMNS, empty="No operations.")


@command(app)
def show(cli: Cli, operation: OperationId) -> None:
    """Show an operation with its phases."""
    found: dict[str, Any] = cli.api.get(f"/operations/{resolve.segment(operation)}")
    cli.out.item(found, FIELDS)
    if not cli.out.as_json:
        for phase in found.get("phases") or []:
            cli.out.plain(f"  {wait.phase_line(phase)}")


@command(app)
def watch(
    cli: Cli,
    operation: OperationId,
    timeout: Annotated[float, typer.Option(min=1, help="Longest wait, seconds.")] = wait.DEFAULT_TIMEOUT,
) -> None:
    """Wait until an operation has ended; exits with 1 when it failed."""
    ended = wait.wait_for_operation(cli.api, cli.out, resolve.segment(operation), timeout=timeout)
    cli.out.result(f"The operation {ended['kind']} succeeded.", ended)
