"""nagaya engine: the ZenML versions that can host tenants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nagaya.cli.context import Cli, command
from nagaya.cli.errors import CliError
from nagaya.cli.host import make_config, read_settings, stored_config
from nagaya.cli.service_user import as_service

if TYPE_CHECKING:
    from nagaya.runtime.config import PlatformConfig

app = typer.Typer(no_args_is_help=True, help="ZenML versions that can host tenants.")
COLUMNS = {"version": "VERSION", "state": "STATE", "default": "DEFAULT", "python": "PYTHON", "directory": "DIRECTORY"}
Version = Annotated[str | None, typer.Argument(help="ZenML version; the default engine if left out.")]


@command(app, "list")
def list_(
    cli: Cli,
    check: Annotated[bool, typer.Option("--check", help="Compare every file with its hash; takes seconds.")] = False,
) -> None:
    """List the engines that are installed on this machine, and those that could be."""
    settings = read_settings()
    config = make_config(settings)
    rows = engines(config.engines_dir, default=settings.default_engine, thorough=check)
    for row in rows:
        if row["problem"]:
            cli.out.note(row["problem"])
        elif row["state"] == "outdated":
            again = f"nagaya engine install {row['version']}"
            cli.out.note(f"The engine {row['version']} was made by another release of Nagaya. Renew it: {again}")
    cli.out.table(rows, COLUMNS, empty=f"No engines in {config.engines_dir}. nagaya engine install")


@command(app)
def install(
    cli: Cli,
    version: Version = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Check every file of an installed engine, and make it anew if need be.")
    ] = False,
) -> None:
    """Install an engine from its lock, or renew what is out of date in it. A platform that runs notices by itself."""
    from nagaya.engines.install import EngineInstallError, ensure  # noqa: PLC0415

    settings = read_settings()
    config = make_config(settings)
    wanted = version or settings.default_engine
    try:
        engine = ensure(config.engines_dir, wanted, repair=repair, progress=lambda text: cli.out.note(f"{text} …"))
    except EngineInstallError as error:
        raise CliError(str(error), error="EngineInstallError") from error
    described = {"version": engine.version, "state": "ready", "directory": str(engine.directory)}
    cli.out.result(f"The engine {engine.version} is installed in {engine.directory}.", described)


@command(app)
def remove(
    cli: Cli,
    version: Annotated[str, typer.Argument(help="ZenML version.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove an engine that no tenant needs; also none that was deleted and can still be restored."""
    from nagaya.engines.errors import EngineRemovalError  # noqa: PLC0415
    from nagaya.engines.removal import remove as remove_engine  # noqa: PLC0415

    settings = read_settings()
    config = make_config(settings)
    running = stored_config(config.data_dir) or config
    if version == settings.default_engine:
        message = f"{version} is the default engine. Choose another one first: NAGAYA_DEFAULT_ENGINE."
        raise CliError(message, error="EngineRemovalError")
    if not yes:
        typer.confirm(f"Remove the engine {version} from {config.engines_dir}?", abort=True, err=True)
    try:
        remove_engine(config.engines_dir, version, lambda: users_of(running, version))
    except EngineRemovalError as error:
        raise CliError(str(error), error="EngineRemovalError") from error
    cli.out.result(f"The engine {version} has been removed.", {"version": version, "removed": True})


def engines(directory: Path, *, default: str, thorough: bool = False) -> list[dict[str, Any]]:
    """What is installed below `directory`, damaged or not, and after it what this release could install."""
    from nagaya.engines import catalog, health, locks  # noqa: PLC0415

    rows: list[dict[str, Any]] = []
    for version in catalog.present(directory):
        found = health.examine_one(directory, version, thorough=thorough)
        row = {"version": version, "state": found.state, "default": version == default, "python": found.python or None}
        rows.append({**row, "directory": str(found.directory), "problem": found.problem})
    there = {row["version"] for row in rows}
    for version in locks.available():
        if version not in there:
            row = {"version": version, "state": "available", "default": version == default, "python": None}
            rows.append({**row, "directory": None, "problem": None})
    return sorted(rows, key=lambda row: catalog.version_key(row["version"]))


def users_of(config: PlatformConfig, version: str) -> list[str]:
    """`organization/tenant` of all that need an engine: as the control database and the keeper's records say.

    Raises:
        CliError: the database cannot be read.
    """
    from nagaya.cli.bootstrap import platform_errors  # noqa: PLC0415
    from nagaya.db.engine import PLACE  # noqa: PLC0415
    from nagaya.runtime.local.store import engine_users  # noqa: PLC0415

    if config.database_url is None and not (config.data_dir / PLACE).exists():
        return []

    def read() -> dict[str, str | None]:
        with platform_errors():
            return {"names": json.dumps(_users_in_database(config, version))}

    names = json.loads(as_service(config, read)["names"] or "[]")
    return sorted({*names, *engine_users(config.keeper_dir, version)})


def _users_in_database(config: PlatformConfig, version: str) -> list[str]:
    from sqlalchemy import inspect  # noqa: PLC0415

    from nagaya.db.engine import Database, database_url  # noqa: PLC0415
    from nagaya.tenants.models import Tenant  # noqa: PLC0415
    from nagaya.tenants.repository import names_by_version  # noqa: PLC0415

    database = Database(database_url(config.data_dir, config.database_url))
    try:
        if not inspect(database.engine).has_table(Tenant.__tablename__):
            return []
        with database.read() as session:
            return names_by_version(session, version)
    finally:
        database.close()
