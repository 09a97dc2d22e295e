"""What `nagaya tenant enroll` and `rotate-key` print, and that the files for Compose say the same."""

from __future__ import annotations

import re
import shlex
import subprocess
import uuid
from pathlib import Path

import pytest

from nagaya.cli.errors import CliError
from nagaya.cli.tenant_enrollment import Form, lines, parse_duration, renamed, tenant_naming
from nagaya.organizations.models import Organization
from nagaya.tenants.enrollment import environment
from nagaya.tenants.models import Tenant
from nagaya.tenants.spec import Addresses
from tests.cli.conftest import Nagaya
from tests.cli.platform import MemoryPlatform

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "enrolled-server"


def printed() -> dict[str, str]:
    """The environment that the platform makes."""
    organization = Organization(id=uuid.uuid4(), name="acme")
    tenant = Tenant(id=uuid.uuid4(), name="elsewhere")
    return environment(tenant, organization, Addresses("https://nagaya.example.com"), "K" * 43)


def names(text: str) -> list[str]:
    return re.findall(r"^(ZENML_\w+)=", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("file", "version"), [("server.env.example", "0.98.0"), ("server-0.75.1.env.example", "0.75.1")]
)
def test_the_examples_have_exactly_the_variables_that_are_printed(file: str, version: str) -> None:
    expected = renamed(printed(), tenants=tenant_naming(version))
    example = (DEPLOY / file).read_text()
    assert names(example) == list(expected)
    known = dict(line.split("=", 1) for line in example.splitlines() if line.startswith("ZENML_"))
    own = {"ZENML_SERVER_SERVER_URL"}
    assert {name: value for name, value in known.items() if value and name not in own} == {
        name: expected[name] for name, value in known.items() if value and name not in own
    }


def test_the_compose_file_takes_the_variables_from_that_file_and_sets_none_of_them() -> None:
    compose = (DEPLOY / "compose.yaml").read_text()
    assert "env_file: server.env\n" in compose
    assert not set(re.findall(r"^ +(ZENML_\w+):", compose, re.MULTILINE)) & set(printed())
    assert ".env" in (DEPLOY / ".gitignore").read_text()


def test_the_page_lists_every_variable() -> None:
    page = (DEPLOY.parents[1] / "docs" / "how-to" / "enroll-a-server.md").read_text()
    for name in printed():
        assert name in page or name.replace("ZENML_SERVER_PRO", "") in page, name


@pytest.mark.parametrize("version", ["0.98.0", "0.75.1"])
def test_shell_lines_mean_the_same_in_a_shell(version: str) -> None:
    wanted = renamed(printed(), tenants=tenant_naming(version)) | {"ZENML_SERVER_SERVER_URL": "https://x/?a='b' $HOME"}
    script = "\n".join([*lines(wanted, Form.SHELL), "env -0"])
    output = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    found = dict(line.split("=", 1) for line in output.split("\0") if line)
    assert {name: found[name] for name in wanted} == wanted
    assert ("ZENML_SERVER_PRO_TENANT_ID" in wanted) == (version == "0.75.1")
    assert not any("WORKSPACE" in name for name in wanted) or version != "0.75.1"


def test_other_forms() -> None:
    wanted = {"A": "it's $5", "B": "b"}
    assert lines(wanted, Form.COMPOSE) == ["environment:", "  A: 'it''s $$5'", "  B: 'b'"]
    assert lines(wanted, Form.ENV) == ["A=it's $5", "B=b"]
    assert lines(wanted, Form.SHELL) == [f"export A={shlex.quote(wanted['A'])}", "export B=b"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("90", 90), ("30s", 30), ("10m", 600), ("2h", 7200), ("7d", 604_800)]
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "1w", "1.5h"])
def test_what_is_no_duration_or_version_is_refused(text: str) -> None:
    with pytest.raises(CliError, match="is no duration"):
        parse_duration(text)
    with pytest.raises(CliError, match="is no ZenML version"):
        tenant_naming(text)
    with pytest.raises(CliError, match="oldest"):
        tenant_naming("0.75.0")


def test_enrolling_and_rotating(nagaya: Nagaya, platform: MemoryPlatform) -> None:
    platform.organization("acme")
    result = nagaya(
        "tenant", "enroll", "acme/elsewhere", "--server-url", "https://zenml.example.com/", "--stage", "prod"
    )
    assert "export ZENML_SERVER_SERVER_URL=https://zenml.example.com\n" in result.out
    assert "export ZENML_SERVER_PRO_WORKSPACE_ID=" in result.out
    assert "cannot be shown again" in result.err
    made = nagaya("tenant", "enroll", "acme/older", "--zenml", "0.75.1", "--json").json
    assert "ZENML_SERVER_PRO_TENANT_ID" in made["environment"]
    assert "Fill in ZENML_SERVER_SERVER_URL" in nagaya("tenant", "enroll", "acme/third").err
    assert nagaya("tenant", "enroll", "acme/x", "--organization", "beta").code == 2
    assert nagaya("tenant", "enroll", "acme/x", "--zenml", "0.74.0").code == 2
    rotated = nagaya("tenant", "rotate-key", "acme/elsewhere", "--overlap", "2h", "--format", "env")
    assert rotated.out == "ZENML_SERVER_PRO_OAUTH2_CLIENT_SECRET=second\n"
    assert "ends in 2h" in rotated.err
    assert platform.requests[-1][2] == {"overlap_seconds": 7200}
    assert nagaya("tenant", "rotate-key", "acme/elsewhere", "--json").json["enrollment_key"] == "second"
    assert nagaya("tenant", "rotate-key", "acme/elsewhere", "--overlap", "soon").code == 2
    assert "has no address yet" in nagaya("tenant", "connect", "acme/elsewhere").err
