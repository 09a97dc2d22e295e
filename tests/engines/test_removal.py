"""Removing engines: never one that a tenant needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nagaya.engines import catalog, health, install
from nagaya.engines.errors import EngineRemovalError
from nagaya.engines.removal import remove
from tests.engines.source import VERSION, Source


def test_an_engine_without_tenants_is_removed(source: Source, engines: Path) -> None:
    install.ensure(engines, VERSION)
    remove(engines, VERSION, list)
    assert catalog.present(engines) == []
    assert [path.name for path in engines.iterdir()] == [f".{VERSION}.lock"]
    assert install.ensure(engines, VERSION).version == VERSION


def test_an_engine_in_use_is_never_removed(source: Source, engines: Path) -> None:
    install.ensure(engines, VERSION)
    users = [f"acme/t{number}" for number in range(7)]
    with pytest.raises(EngineRemovalError, match=r"in use by acme/t0, .*acme/t4 and 2 more\. .* 7 days"):
        remove(engines, VERSION, lambda: users)
    assert health.inspect(engines, VERSION) is None


def test_a_tenant_that_was_made_meanwhile_gets_its_engine_back(source: Source, engines: Path) -> None:
    install.ensure(engines, VERSION)
    answers: Iterator[list[str]] = iter([[], ["acme/new"]])
    with pytest.raises(EngineRemovalError, match="in use by acme/new"):
        remove(engines, VERSION, lambda: next(answers))
    assert health.inspect(engines, VERSION) is None


def test_what_is_not_installed_cannot_be_removed(source: Source, engines: Path) -> None:
    with pytest.raises(EngineRemovalError, match=r"0\.1\.0 is not installed here; installed: none"):
        remove(engines, "0.1.0", list)
    install.ensure(engines, VERSION)
    for version in ("0.1.0", "..", f".{VERSION}.lock", ""):
        with pytest.raises(EngineRemovalError, match=f"installed: {VERSION}"):
            remove(engines, version, list)


def test_a_removal_that_was_killed_leaves_nothing_in_the_way(source: Source, engines: Path) -> None:
    engine = install.ensure(engines, VERSION)
    engine.directory.rename(engines / f".{VERSION}.removed")
    assert install.ensure(engines, VERSION).version == VERSION
    assert not (engines / f".{VERSION}.removed").exists()
