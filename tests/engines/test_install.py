"""Installing engines, with real environments made from an empty lock and small packages of our own."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nagaya.engines import catalog, install, locks

VERSION = "0.0.9"


def publish(root: Path, template: str = "out.write_text('template')") -> None:
    """Write the packages that travel into engines."""
    for package in ("nagaya_policy", "nagaya_tenant"):
        (root / package).mkdir(parents=True, exist_ok=True)
        (root / package / "__init__.py").write_text(f"'''{package}'''\n")
    (root / "nagaya_tenant" / "template.py").write_text(
        f"import sys\nfrom pathlib import Path\nout = Path(sys.argv[1])\n{template}\n"
    )


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source tree with one lock that demands nothing."""
    publish(tmp_path / "src")
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / f"{VERSION}.lock").write_text("")
    monkeypatch.setattr(locks, "source_root", lambda: tmp_path / "src")
    monkeypatch.setattr(locks, "lock_directory", lambda: tmp_path / "locks")
    return tmp_path / "src"


def test_an_engine_is_installed_once(source: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    engine = install.ensure(tmp_path / "engines", VERSION, progress=steps.append)
    assert engine.template.read_text() == "template"
    assert engine == catalog.find(tmp_path / "engines", VERSION)
    record = json.loads((engine.directory / "nagaya" / "engine.json").read_text())
    assert set(record) == {"version", "python", "zenml", "nagaya", "fingerprint"}
    assert any("ready after" in step for step in steps)
    site = install._site_packages(engine.directory)
    assert list((site / "nagaya_tenant" / "__pycache__").glob("*.pyc"))
    assert not list(site.glob(".nagaya*"))
    path = subprocess.run(
        [engine.python, "-I", "-c", "import nagaya_tenant; print(nagaya_tenant.__file__)"], capture_output=True
    )
    assert str(site).encode() in path.stdout
    steps.clear()
    assert install.ensure(tmp_path / "engines", VERSION, progress=steps.append) == engine
    assert steps == []


def test_only_our_packages_are_renewed_when_they_changed(source: Path, tmp_path: Path) -> None:
    first = install.ensure(tmp_path / "engines", VERSION)
    kept = first.directory / "pyvenv.cfg"
    made = kept.stat().st_mtime_ns
    publish(source, "out.write_text('newer')")
    (source / "nagaya_policy" / "more.py").write_text("")
    steps: list[str] = []
    second = install.ensure(tmp_path / "engines", VERSION, progress=steps.append)
    assert second.fingerprint != first.fingerprint
    assert second.template.read_text() == "newer"
    assert kept.stat().st_mtime_ns == made
    assert not any("environment" in step for step in steps)


def test_a_failing_step_is_shown_and_leaves_no_engine(source: Path, tmp_path: Path) -> None:
    publish(source, "sys.exit('no space for tables')")
    with pytest.raises(install.EngineInstallError, match=r"(?s)template failed with code 1.*no space for tables"):
        install.ensure(tmp_path / "engines", VERSION)
    assert catalog.installed(tmp_path / "engines") == []
    publish(source)
    assert install.ensure(tmp_path / "engines", VERSION).version == VERSION


def test_an_unknown_version_names_the_known_ones(source: Path, tmp_path: Path) -> None:
    with pytest.raises(install.EngineInstallError, match=f"no engine 1.2.3; .* knows {VERSION}"):
        install.ensure(tmp_path / "engines", "1.2.3")


def test_a_directory_that_cannot_be_written_is_explained(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(install.EngineInstallError, match="cannot be installed"):
        install.ensure(tmp_path / "file" / "engines", VERSION)


def test_an_environment_whose_interpreter_is_gone_is_made_again(source: Path, tmp_path: Path) -> None:
    engine = install.ensure(tmp_path / "engines", VERSION)
    engine.python.unlink()
    engine.python.symlink_to("/nonexistent/python")
    publish(source, "out.write_text('again')")
    assert install.ensure(tmp_path / "engines", VERSION).template.read_text() == "again"


def _install(engines: Path, source: Path, lock_directory: Path) -> None:
    locks.source_root = lambda: source
    locks.lock_directory = lambda: lock_directory
    install.ensure(engines, VERSION)


def _start(tmp_path: Path, source: Path) -> multiprocessing.Process:
    process = multiprocessing.Process(target=_install, args=(tmp_path / "engines", source, tmp_path / "locks"))
    process.start()
    return process


def test_killed_at_any_moment_the_next_call_completes_it(source: Path, tmp_path: Path) -> None:
    publish(source, "import time; time.sleep(0.3); out.write_text('template')")
    for delay in (0.05, 0.3, 0.6):
        process = _start(tmp_path, source)
        time.sleep(delay)  # The moment is the point.
        process.kill()
        process.join()
    assert install.ensure(tmp_path / "engines", VERSION).template.read_text() == "template"


def test_of_two_at_once_one_installs(source: Path, tmp_path: Path) -> None:
    publish(source, f"out.open('a').write('once '); Path({str(tmp_path / 'count')!r}).open('a').write('x')")
    processes = [_start(tmp_path, source) for _ in range(3)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "x"


def test_without_uv_the_sentence_says_what_to_install(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(install.EngineInstallError, match="pip install uv"):
        install.ensure(tmp_path / "engines", VERSION)


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
    assert "0.98.0" in locks.available()
