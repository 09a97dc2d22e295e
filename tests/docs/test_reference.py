"""The reference pages are those that the code writes, and everything in the code is on them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from nagaya.cli import references
from nagaya.cli.errors import ExitCode
from nagaya.cli.main import app
from nagaya.settings import CLIENT_VARIABLES, Settings, variable

ROOT = Path(__file__).resolve().parents[2]
REGENERATE = "run: ./run exec python -m nagaya.cli.references"


@pytest.mark.parametrize("name", list(references.PAGES))
def test_the_page_is_not_stale(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == references.PAGES[name](), REGENERATE


def test_every_setting_is_documented() -> None:
    page = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        assert f"`{variable(name)}`" in page
        assert field.description, f"{name} has no description"
    for name in CLIENT_VARIABLES:
        assert f"`{name}`" in page


def test_every_command_is_documented() -> None:
    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    commands = list(references.walk(typer.main.get_command(app), "nagaya"))
    assert len(commands) > 25
    for name, command in commands:
        assert f"\n## {name}\n" in page
        assert command.help, f"{name} has no help"
        undescribed = [p.name for p in command.params if not getattr(p, "help", None)]
        assert undescribed == [], f"{name} has parameters without help"


def test_every_exit_code_is_documented() -> None:
    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)] == [int(code) for code in ExitCode]


def test_check_names_what_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(references, "PAGES", {"docs/page.md": lambda: "text\n"})
    assert references.main(["--check"]) == 1
    assert capsys.readouterr().out == "docs/page.md is stale\n"
    assert references.main([]) == 0
    assert (tmp_path / "docs/page.md").read_text() == "text\n"
    assert references.main(["--check"]) == 0


def test_an_openapi_document_becomes_a_table() -> None:
    document = {
        "paths": {
            "/api/v1/tenants": {
                "get": {
                    "tags": ["tenants"],
                    "description": "Lists | tenants.\n\nMore.",
                    "responses": {"200": {}, "401": {}},
                },
                "post": {"summary": "Create Tenant", "responses": {}},
            }
        }
    }
    page = references.api_text(document)
    assert "## other\n" in page
    assert "| `GET /api/v1/tenants` | Lists \\| tenants. | 200, 401 |" in page
