"""nagaya engine: the ZenML versions that can host tenants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from nagaya.cli.context import Cli, command
from nagaya.cli.errors import CliError
from nagaya.cli.host import make_config, read_settings

app = typer.Typer(no_args_is_help=True, help="ZenML versions that can host tenants.")
COLUMNS = {"version": "VERSION", "state": "STATE", "python": "PYTHON", "directory": "DIRECTORY"}


@command(app, "list")
def list_(cli: Cli) -> None:
    """List the engines that are installed on this machine."""
    config = make_config(read_settings())
    rows = installed_engines(config.engines_dir)
    cli.out.table(rows, COLUMNS, empty=f"No engines in {config.engines_dir}. nagaya engine install")


@command(app)
def install(
    cli: Cli,
    version: Annotated[str | None, typer.Argument(help="ZenML version; the default engine if left out.")] = None,
) -> None:
    """Install an engine from its lock, or renew what is out of date in it."""
    from nagaya.engines.install import EngineInstallError, ensure  # noqa: PLC0415

    settings = read_settings()
    config = make_config(settings)
    try:
        engine = ensure(config.engines_dir, version or settings.default_engine, progress=cli.out.note)
    except EngineInstallError as error:
        raise CliError(str(error), error="EngineInstallError") from error
    described = {"version": engine.version, "state": "ready", "directory": str(engine.directory)}
    cli.out.result(f"The engine {engine.version} is installed in {engine.directory}.", described)


def installed_engines(directory: Path) -> list[dict[str, Any]]:
    """The engines below `directory`; one without `engine.json` is incomplete (the file is written last)."""
    rows: list[dict[str, Any]] = []
    for home in sorted(path for path in directory.glob("*") if (path / "bin").is_dir()):
        described: dict[str, Any] = {}
        try:
            described = json.loads((home / "nagaya" / "engine.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            rows.append({"version": home.name, "state": "incomplete", "python": None, "directory": str(home)})
            continue
        rows.append({"version": home.name, "state": "ready", "directory": str(home), **described})
    return rows
