"""Every failure is one sentence with its exit code; tracebacks only with --debug; data cannot pose as markup."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import httpx
import pytest

from nagaya.cli import client
from nagaya.cli.credentials import Credential, Credentials
from nagaya.cli.errors import MEANINGS, ExitCode
from nagaya.cli.output import cell, local_time
from tests.cli.conftest import Nagaya
from tests.cli.platform import (
    TOKEN,
    BrokenPlatform,
    GatewayPlatform,
    MemoryPlatform,
    ObjectServer,
    OtherServer,
    OverloadedPlatform,
    SlowPlatform,
)

Serve = Callable[[MemoryPlatform], MemoryPlatform]


def signed_in(serve: Serve, platform: MemoryPlatform) -> MemoryPlatform:
    served = serve(platform)
    Credentials.load().put(served.url, Credential(TOKEN))
    return served


def test_a_mistyped_command_is_suggested(nagaya: Nagaya) -> None:
    result = nagaya("tenat", "list")
    assert result.code == 2
    assert "Did you mean 'tenant'" in result.err


def test_nobody_listens(nagaya: Nagaya) -> None:
    Credentials.load().put("http://127.0.0.1:1", Credential(TOKEN))
    result = nagaya("org", "list")
    assert result.code == 6
    assert "http://127.0.0.1:1 cannot be reached" in result.err
    assert "nagaya up" in result.err


@pytest.mark.parametrize(
    ("platform", "code", "sentence"),
    [
        (OverloadedPlatform, 6, "The keeper does not answer"),
        (GatewayPlatform, 6, "The api does not answer."),
        (BrokenPlatform, 1, "Request id: req-1"),
        (OtherServer, 1, "is it a Nagaya platform?"),
        (ObjectServer, 1, "did not answer with a list"),
    ],
)
def test_a_platform_that_misbehaves(
    nagaya: Nagaya, serve: Serve, platform: type[MemoryPlatform], code: int, sentence: str
) -> None:
    signed_in(serve, platform())
    result = nagaya("org", "list")
    assert result.code == code
    assert sentence in result.err
    assert "Traceback" not in result.err


def test_a_platform_that_is_too_slow(nagaya: Nagaya, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "TIMEOUT", httpx.Timeout(0.1))
    signed_in(serve, SlowPlatform())
    result = nagaya("org", "list")
    assert result.code == 6
    assert "did not answer in time" in result.err


def test_credentials_that_are_not_valid_any_more(nagaya: Nagaya, platform: MemoryPlatform) -> None:
    platform.tokens.clear()
    result = nagaya("org", "list")
    assert result.code == 4
    assert "nagaya login" in result.err


def test_the_unexpected_is_one_sentence_and_debug_shows_where(
    nagaya: Nagaya, platform: MemoryPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of tea\nsecond line")

    monkeypatch.setattr("nagaya.cli.client.ApiClient.request", fail)
    plain = nagaya("org", "list")
    assert plain.code == 1
    assert "did not expect: RuntimeError: out of tea. --debug shows where." in plain.err
    assert "Traceback" not in plain.err
    assert "Traceback" in nagaya("org", "list", "--debug").err


def test_an_interrupt_is_130(nagaya: Nagaya, platform: MemoryPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nagaya.cli.client.ApiClient.request", interrupt)
    assert nagaya("org", "list").code == 130


def test_markup_in_names_stays_text(nagaya: Nagaya, platform: MemoryPlatform) -> None:
    platform.organization("acme")["description"] = "[red]fire[/red] [/]"
    assert "[red]fire[/red] [/]" in nagaya("org", "list").out
    assert cell("[bold]x") == "\\[bold]x"


def test_long_names_are_not_cut_in_a_pipe(nagaya: Nagaya, platform: MemoryPlatform) -> None:
    platform.organization("acme")["description"] = "x" * 300
    assert "x" * 300 in nagaya("org", "list").out


def test_a_reader_that_leaves_early_is_no_error() -> None:
    script = "from nagaya.cli.main import main; import sys; sys.argv = ['nagaya', '--help']; sys.exit(main())"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read().decode()
    process.stderr.close()
    process.wait(timeout=60)
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors


def test_values_are_shown_as_people_read_them() -> None:
    assert [cell(v) for v in (None, True, False, {"a": 1}, ["x", "y"], 3)] == ["", "yes", "no", "a=1", "x, y", "3"]
    assert local_time("2026-11-23T10:00:00+00:00") == "2026-11-23 10:00:00"
    assert local_time("2026-11-23T10:00:00") == "2026-11-23 10:00:00"
    assert local_time("2026-99-99T10:00:00") == "2026-99-99T10:00:00"


def test_every_exit_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(ExitCode)
    assert set(client.EXIT_BY_STATUS.values()) <= set(ExitCode)


def test_version_and_help(nagaya: Nagaya) -> None:
    assert nagaya("--version").out.startswith("nagaya 0.")
    assert "Common" in nagaya("tenant", "list", "--help").out
