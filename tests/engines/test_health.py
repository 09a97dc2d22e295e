"""Engines whose files were deleted, truncated or exchanged: each is noticed, named, and repaired."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nagaya.engines import catalog, errors, health, install
from nagaya.engines.catalog import Engine
from tests.engines.source import VERSION, Source


def site_of(engine: Engine) -> Path:
    site = catalog.site_packages(engine.directory)
    assert site is not None
    return site


def rewrite(engine: Engine, **changed: str) -> None:
    engine.record.write_text(json.dumps(json.loads(engine.record.read_text()) | changed))


PLAIN: dict[str, tuple[Callable[[Engine], object], str]] = {
    "no record": (lambda engine: engine.record.unlink(), "record nagaya/engine.json is missing"),
    "half a record": (lambda engine: engine.record.write_text('{"version'), "record nagaya/engine.json is missing"),
    "a list": (lambda engine: engine.record.write_text("[]"), "record nagaya/engine.json is missing"),
    "another engine's": (lambda engine: rewrite(engine, zenml="0.98.0"), "its record is one of 0.98.0"),
    "no python": (lambda engine: engine.python.unlink(), "interpreter bin/python is missing"),
    "no bin": (lambda engine: shutil.rmtree(engine.directory / "bin"), "interpreter bin/python is missing"),
    "no zenml": (lambda engine: shutil.rmtree(site_of(engine) / "zenml"), "package zenml is missing"),
    "no packages": (lambda engine: shutil.rmtree(engine.directory / "lib"), "package zenml is missing"),
    "no metadata": (
        lambda engine: shutil.rmtree(site_of(engine) / f"zenml-{VERSION}.dist-info"),
        f"package zenml-{VERSION} is missing",
    ),
    "ours exchanged": (
        lambda engine: (site_of(engine) / "nagaya_tenant" / "__init__.py").write_text("import os"),
        "copy of Nagaya's packages",
    ),
    "wrong fingerprint": (lambda engine: rewrite(engine, fingerprint="0" * 16), "copy of Nagaya's packages"),
    "no template": (lambda engine: engine.template.unlink(), "template database is missing"),
    "empty template": (lambda engine: engine.template.write_bytes(b""), "template database cannot be read"),
    "template of zeros": (lambda engine: engine.template.write_bytes(bytes(4096)), "template database"),
}
"""What was done to an engine, and what a quick look says."""


@pytest.mark.parametrize("case", PLAIN)
def test_plain_damage_is_named_and_repaired(source: Source, engines: Path, case: str) -> None:
    engine = install.ensure(engines, VERSION)
    damage, words = PLAIN[case]
    damage(engine)
    found = health.examine(engines)
    assert [each.state for each in found] == ["damaged"]
    assert words in str(found[0].problem)
    assert errors.is_about(str(found[0].problem), VERSION)
    assert f"nagaya engine install {VERSION} --repair" in str(found[0].problem)
    install.ensure(engines, VERSION)
    assert [each.state for each in health.examine(engines)] == ["ready"]


@pytest.mark.parametrize("content", [b"", None, b"TABLES = 4\n"])
def test_a_damaged_file_of_zenml_is_found_by_its_hash(source: Source, engines: Path, content: bytes | None) -> None:
    engine = install.ensure(engines, VERSION)
    file = site_of(engine) / "zenml" / "store.py"
    whole = file.read_bytes()
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert health.inspect(engines, VERSION) is None
    assert "1 of its files are missing or changed (zenml/store.py)" in str(health.verify(engine))
    said: list[str] = []
    assert install.ensure(engines, VERSION, progress=said.append) == engine
    assert said == []
    repaired = install.ensure(engines, VERSION, repair=True, progress=said.append)
    assert any("zenml/store.py" in text for text in said)
    assert (site_of(repaired) / "zenml" / "store.py").read_bytes() == whole
    assert health.verify(repaired) is None


def test_data_may_grow_and_not_shrink(source: Source, engines: Path) -> None:
    engine = install.ensure(engines, VERSION)
    file = site_of(engine) / "zenml" / "authorities.pem"
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content + b"our company's\n")
    assert health.verify(engine) is None
    file.write_bytes(content[:2])
    assert "zenml/authorities.pem" in str(health.verify(engine))
    file.unlink()
    assert "zenml/authorities.pem" in str(health.verify(engine))


@pytest.mark.parametrize("content", [None, b"\xff\x00", b"zenml/__init__.py,sha256=AAAA,many\n"])
def test_a_record_that_cannot_be_read_is_damage(source: Source, engines: Path, content: bytes | None) -> None:
    engine = install.ensure(engines, VERSION)
    record = site_of(engine) / f"zenml-{VERSION}.dist-info" / "RECORD"
    record.unlink()
    if content is not None:
        record.write_bytes(content)
    assert f"zenml-{VERSION}.dist-info/RECORD" in str(health.verify(engine))


def test_nothing_is_made_anew_when_nothing_is_damaged(source: Source, engines: Path) -> None:
    engine = install.ensure(engines, VERSION)
    said: list[str] = []
    assert install.ensure(engines, VERSION, repair=True, progress=said.append) == engine
    assert said == ["checking every file", "nothing is damaged"]
    assert health.examine_one(engines, VERSION, thorough=True).state == "ready"


def test_an_engine_of_another_release_can_be_used(source: Source, engines: Path) -> None:
    install.ensure(engines, VERSION)
    (source.packages / "nagaya_policy" / "more.py").write_text("")
    found = health.examine_one(engines, VERSION)
    assert (found.state, found.problem) == ("outdated", None)


def test_an_engine_that_is_not_there(engines: Path) -> None:
    found = health.examine_one(engines, "0.94.6")
    assert found.problem == errors.not_installed("0.94.6")
    assert health.examine(engines) == []
