"""nagaya tenant enroll, rotate-key: ZenML servers that run elsewhere, and the environment that they need."""

from __future__ import annotations

import re
import shlex
from enum import StrEnum
from typing import Annotated

import typer

from nagaya.cli import resolve
from nagaya.cli.context import Cli, command
from nagaya.cli.errors import CliError, ExitCode

LAST_WITH_TENANTS = (0, 75, 1)
"""The last release that calls a tenant so; newer ones call it a workspace (wire contract, section 8)."""
ADDRESS = "ZENML_SERVER_SERVER_URL"


class Form(StrEnum):
    """How an environment is written."""

    SHELL = "shell"
    COMPOSE = "compose"
    ENV = "env"


FormOption = Annotated[
    Form,
    typer.Option(
        "--format",
        help="shell: export lines; compose: the `environment` of a service; env: lines for an `env_file`.",
    ),
]
Version = Annotated[
    str,
    typer.Option("--zenml", metavar="VERSION", help="ZenML version of the server; decides how variables are named."),
]
Duration = Annotated[
    str, typer.Option(metavar="DURATION", help="How long the old key works beside the new one: 0, 10m, 2h, 7d.")
]


def register(app: typer.Typer) -> None:
    """Adds the commands of this module to `nagaya tenant`."""
    command(app)(enroll)
    command(app, "rotate-key")(rotate_key)


def enroll(
    cli: Cli,
    *,
    name: Annotated[str, typer.Argument(help="NAME or ORGANIZATION/NAME; lower-case letters, digits, single hyphens.")],
    organization: Annotated[str | None, typer.Option(help="Organization, if you have more than one.")] = None,
    server_url: Annotated[str | None, typer.Option(help="Address at which clients will reach the server.")] = None,
    zenml: Version = "0.98.0",
    form: FormOption = Form.SHELL,
    display_name: Annotated[str | None, typer.Option(help="Name for people; can change.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    stage: Annotated[str | None, typer.Option(help="Stage, such as staging or production.")] = None,
) -> None:
    """Register a ZenML server that runs elsewhere, and print the environment that it needs. The key is shown once."""
    first, slash, second = name.partition("/")
    if slash and organization and organization != first:
        raise CliError(f"The name says {first} and --organization says {organization}: which one?", ExitCode.USAGE)
    naming = tenant_naming(zenml)
    home = resolve.organization_or_only(cli.api, first if slash else organization)
    body = {
        "name": second if slash else name,
        "organization_id": home["id"],
        "display_name": display_name,
        "description": description,
        "stage": stage,
    }
    wanted = {key: value for key, value in body.items() if value is not None}
    made = cli.api.request("POST", "/tenants", params={"enroll": "true"}, json=wanted).json()
    environment = renamed(made.pop("environment"), tenants=naming)
    environment[ADDRESS] = (server_url or "").rstrip("/")
    if cli.out.as_json:
        cli.out.json({**made, "environment": environment})
        return
    cli.out.note(f"Tenant {resolve.full_name(made)} waits for its server. Keep these lines now; they hold its key,")
    cli.out.note("which cannot be shown again:")
    cli.out.plain("\n".join(lines(environment, form)))
    if not server_url:
        cli.out.note(f"Fill in {ADDRESS}: the address at which clients will reach the server.")


def rotate_key(
    cli: Cli,
    *,
    tenant: Annotated[
        str, typer.Argument(metavar="TENANT", help="NAME if it is unambiguous, ORGANIZATION/NAME, or an id.")
    ],
    overlap: Duration = "0",
    form: FormOption = Form.SHELL,
) -> None:
    """Replace the key of an enrolled server and print the new one, once. The old one ends now, or after --overlap."""
    seconds = parse_duration(overlap)
    found = resolve.tenant(cli.api, tenant)
    answer = cli.api.post(f"/tenants/{found['id']}/enrollment_key", {"overlap_seconds": seconds})
    if cli.out.as_json:
        cli.out.json(answer)
        return
    end = f"in {overlap}" if seconds else "now"
    cli.out.note(f"The old key of {resolve.full_name(found)} ends {end}. Start the server again with:")
    cli.out.plain("\n".join(lines(answer["environment"], form)))


def tenant_naming(version: str) -> bool:
    """Whether a release names tenants so.

    Raises:
        CliError: The text is no version, or one that is too old to be enrolled.
    """
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if not match:
        raise CliError(f"{version} is no ZenML version; write it like 0.98.0.", ExitCode.USAGE)
    number = tuple(map(int, match.groups()))
    if number < LAST_WITH_TENANTS:
        raise CliError(f"ZenML {version} cannot be enrolled: 0.75.1 is the oldest.", ExitCode.USAGE)
    return number <= LAST_WITH_TENANTS


def renamed(environment: dict[str, str], *, tenants: bool) -> dict[str, str]:
    """The environment in the names of a release: up to 0.75.1 a workspace is called a tenant."""
    if not tenants:
        return environment
    return {name.replace("_PRO_WORKSPACE_", "_PRO_TENANT_"): value for name, value in environment.items()}


def lines(environment: dict[str, str], form: Form) -> list[str]:
    """The environment as lines of a form.

    No value that the platform makes, and no valid address, has a character that the forms write differently; an address
    that a person typed is quoted for the shell and for YAML.
    """
    if form is Form.SHELL:
        return [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    if form is Form.ENV:
        return [f"{name}={value}" for name, value in environment.items()]
    quoted = {name: value.replace("'", "''") for name, value in environment.items()}
    # Compose replaces what follows a dollar sign.
    return ["environment:", *(f"  {name}: '{value.replace('$', '$$')}'" for name, value in quoted.items())]


def parse_duration(text: str) -> int:
    """Seconds of `90`, `10m`, `2h` or `7d`.

    Raises:
        CliError: It is none of these.
    """
    match = re.fullmatch(r"(\d{1,6})([smhd]?)", text.strip())
    if not match:
        raise CliError(f"{text} is no duration; write it like 10m, 2h or 7d.", ExitCode.USAGE)
    return int(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]]
