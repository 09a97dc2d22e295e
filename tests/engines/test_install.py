"""Installing engines, with real environments made from a lock and small packages of our own."""

from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nagaya.engines import catalog, health, install, locks, steps
from nagaya.engines.locks import Pythons
from tests.engines.source import VERSION, Source, use


def label(engine: catalog.Engine) -> str:
    """What the template says."""
    with closing(sqlite3.connect(engine.template)) as database:
        return str(database.execute("SELECT text FROM label").fetchone()[0])


def test_an_engine_is_installed_once(source: Source, engines: Path) -> None:
    said: list[str] = []
    engine = install.ensure(engines, VERSION, progress=said.append)
    assert label(engine) == "template"
    assert engine == catalog.find(engines, VERSION)
    record = json.loads(engine.record.read_text())
    assert set(record) == {"version", "python", "zenml", "nagaya", "fingerprint", "distributions"}
    assert record["distributions"] == [f"zenml-{VERSION}.dist-info"]
    assert any("ready after" in text for text in said)
    site = catalog.site_packages(engine.directory)
    assert site is not None
    assert list((site / "nagaya_tenant" / "__pycache__").glob("*.pyc"))
    assert [path.name for path in engines.iterdir()] in ([VERSION, f".{VERSION}.lock"], [f".{VERSION}.lock", VERSION])
    path = subprocess.run(
        [engine.python, "-I", "-c", "import nagaya_tenant; print(nagaya_tenant.__file__)"], capture_output=True
    )
    assert str(site).encode() in path.stdout
    said.clear()
    assert install.ensure(engines, VERSION, progress=said.append) == engine
    assert said == []


def test_only_our_packages_are_renewed_when_they_changed(source: Source, engines: Path) -> None:
    first = install.ensure(engines, VERSION)
    kept = (first.directory / "pyvenv.cfg").stat().st_ino
    source.publish("newer")
    (source.packages / "nagaya_policy" / "more.py").write_text("")
    said: list[str] = []
    install.renew(engines, progress=said.append)
    second = catalog.find(engines, VERSION)
    assert second is not None
    assert second.fingerprint != first.fingerprint
    assert label(second) == "newer"
    assert (first.directory / "pyvenv.cfg").stat().st_ino == kept
    assert not any("environment" in text for text in said)


def test_an_engine_in_use_keeps_its_files_while_it_is_renewed(source: Source, engines: Path) -> None:
    engine = install.ensure(engines, VERSION)
    site = catalog.site_packages(engine.directory)
    assert site is not None
    with (site / "nagaya_tenant" / "template.py").open() as opened, engine.template.open("rb") as template:
        before = opened.read(), template.read()
        source.publish("newer")
        install.ensure(engines, VERSION)
        opened.seek(0)
        template.seek(0)
        assert (opened.read(), template.read()) == before


def test_a_failing_step_is_shown_and_leaves_no_engine(source: Source, engines: Path) -> None:
    source.publish(before="import sys; sys.exit('no space for tables')")
    with pytest.raises(install.EngineInstallError, match=r"(?s)template failed with code 1.*no space for tables"):
        install.ensure(engines, VERSION)
    assert catalog.present(engines) == []
    source.publish()
    assert install.ensure(engines, VERSION).version == VERSION


def test_a_failing_renewal_leaves_the_engine_that_was_there(source: Source, engines: Path) -> None:
    before = install.ensure(engines, VERSION)
    source.publish(before="raise SystemExit('no space for tables')")
    with pytest.raises(install.EngineInstallError, match="no space for tables"):
        install.ensure(engines, VERSION)
    assert catalog.find(engines, VERSION) == before
    assert health.inspect(engines, VERSION) is None


def test_an_unknown_version_names_the_known_ones(source: Source, engines: Path) -> None:
    for version in ("1.2.3", f"../{VERSION}", ""):
        with pytest.raises(install.EngineInstallError, match=f"no engine .*; .* knows {VERSION}"):
            install.ensure(engines, version)


def test_a_directory_that_cannot_be_written_is_explained(source: Source, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(install.EngineInstallError, match="cannot be installed"):
        install.ensure(tmp_path / "file" / "engines", VERSION)


def test_an_environment_whose_interpreter_is_gone_is_made_again(source: Source, engines: Path) -> None:
    engine = install.ensure(engines, VERSION)
    engine.python.unlink()
    engine.python.symlink_to("/nonexistent/python")
    assert "interpreter" in str(health.inspect(engines, VERSION))
    source.publish("again")
    assert label(install.ensure(engines, VERSION)) == "again"


def test_a_long_step_shows_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "SIGN_OF_LIFE", 0.05)
    said: list[str] = []
    steps.run([sys.executable, "-c", "import time; time.sleep(0.3)"], "sleep", text="sleeping", progress=said.append)
    assert said[:2] == ["sleeping", "sleeping (0 s)"]


def test_a_step_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "SIGN_OF_LIFE", 0.05)
    monkeypatch.setattr(steps, "LONGEST_STEP", 0.1)
    with pytest.raises(install.EngineInstallError, match="sleep did not end within"):
        steps.run([sys.executable, "-c", "import time; time.sleep(60)"], "sleep")


def _install(engines: Path, source: Source) -> None:
    os.setpgid(0, 0)
    use(source)
    install.ensure(engines, VERSION)


def _start(engines: Path, source: Source) -> Any:
    process = multiprocessing.get_context("fork").Process(target=_install, args=(engines, source))
    process.start()
    return process


def test_killed_at_any_moment_the_next_call_completes_it(source: Source, engines: Path) -> None:
    source.publish(before="import time; time.sleep(0.3)")
    for delay in (0.05, 0.3, 0.6, 0.9):
        process = _start(engines, source)
        time.sleep(delay)  # The moment is the point.
        process.kill()
        process.join()
        # What is there under its name is whole.
        assert catalog.present(engines) == [] or health.inspect(engines, VERSION) is None
    assert label(install.ensure(engines, VERSION)) == "template"
    assert health.inspect(engines, VERSION) is None


def test_the_step_of_a_killed_installation_ends_before_the_next_begins(source: Source, engines: Path) -> None:
    trace = source.root / "trace"
    source.publish(before=f"import time; open({str(trace)!r}, 'a').write('begin '); time.sleep(1)")
    with (source.packages / "nagaya_tenant" / "template.py").open("a") as file:
        file.write(f"open({str(trace)!r}, 'a').write('end ')\n")
    process = _start(engines, source)
    while not trace.exists():
        time.sleep(0.01)
    process.kill()
    process.join()
    install.ensure(engines, VERSION)
    assert trace.read_text() == "begin end begin end "


def test_an_exchange_that_was_cut_in_the_middle_is_undone(source: Source, engines: Path) -> None:
    engine = install.ensure(engines, VERSION)
    engine.directory.rename(engines / f".{VERSION}.old")
    (engines / f".{VERSION}.new" / "bin").mkdir(parents=True)
    said: list[str] = []
    assert install.ensure(engines, VERSION, progress=said.append) == engine
    assert said == []
    assert not (engines / f".{VERSION}.new").exists()


def test_of_two_at_once_one_installs(source: Source, engines: Path) -> None:
    count = source.root / "count"
    source.publish(before=f"open({str(count)!r}, 'a').write('x')")
    processes = [_start(engines, source) for _ in range(3)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert count.read_text() == "x"


def test_without_uv_the_sentence_says_what_to_install(
    source: Source, engines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(source.root / "python"))
    monkeypatch.setenv("PATH", str(source.root))
    with pytest.raises(install.EngineInstallError, match="pip install uv"):
        install.ensure(engines, VERSION)


def test_a_python_that_is_too_new_is_replaced_by_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Pythons(sys.version_info[:2], sys.version_info[:2])
    assert steps.interpreter("0.94.6", here) == sys.executable
    monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    found = steps.interpreter("0.94.6", here)
    said = subprocess.run([found, "--version"], capture_output=True, text=True).stdout
    assert f"Python {here.newest[0]}.{here.newest[1]}." in said


def test_without_a_fitting_python_the_sentence_says_which() -> None:
    nowhere = Pythons((3, 90), (3, 91))
    with pytest.raises(install.EngineInstallError, match=r"(?s)0\.94\.6 needs Python 3\.90 to 3\.91.*python3\.91"):
        steps.interpreter("0.94.6", nowhere)


def test_engines_are_listed_by_version_and_only_when_complete(tmp_path: Path) -> None:
    for version in ("0.98.0", "0.100.0", "0.94.6", "broken", ".hidden"):
        (tmp_path / version / "nagaya").mkdir(parents=True)
        if version != "broken":
            record = {"zenml": version, "nagaya": "1", "fingerprint": "f"}
            (tmp_path / version / "nagaya" / "engine.json").write_text(json.dumps(record))
    assert [engine.version for engine in catalog.installed(tmp_path)] == ["0.94.6", "0.98.0", "0.100.0"]
    assert catalog.installed(tmp_path / "none") == []
    (tmp_path / "0.98.0" / "nagaya" / "engine.json").write_text("{")
    assert catalog.find(tmp_path, "0.98.0") is None


def test_the_locks_of_this_repository_are_found() -> None:
    assert locks.available() == ["0.94.6", "0.98.0"]
    assert str(locks.pythons("0.94.6")) == "Python 3.11 to 3.13"
    assert locks.pythons("0.98.0") == Pythons((3, 11), (3, 14))
    assert (3, 13, 1) in locks.pythons("0.94.6")
    assert (3, 14, 0) not in locks.pythons("0.94.6")
    assert locks.pythons("0.1.0") == Pythons(*locks.ANY_PYTHON)
