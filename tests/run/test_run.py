"""./run: installs what is missing, repairs what a kill has left, and becomes the command that was asked for."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from tests.run.conftest import CLIENTS, ROOT, Checkout, reported


def test_the_first_run_installs_and_becomes_the_command_line(checkout: Checkout) -> None:
    result = checkout.run("up", "--port", "1")
    assert result.returncode == 0, result.stderr
    engines = str(checkout.root / ".engines")
    found = reported(result)
    assert (found["argv"], found["engines"]) == (["up", "--port", "1"], engines)
    [sync] = checkout.uv_calls()
    assert sync.endswith("--require-hashes --compile-bytecode locks/platform.lock")
    assert (checkout.root / ".engines/0.98.0/nagaya/engine.json").exists()
    assert "installing the packages of locks/platform.lock: done in" in result.stderr


def test_nothing_outside_the_checkout_is_touched(checkout: Checkout) -> None:
    checkout.run("up")
    assert list(checkout.home.iterdir()) == []


def test_a_second_run_installs_nothing_and_says_nothing(checkout: Checkout) -> None:
    checkout.run("up")
    result = checkout.run("status")
    assert reported(result)["argv"] == ["status"]
    assert result.stderr == ""
    assert len(checkout.uv_calls()) == 1


def test_commands_that_host_no_tenants_need_no_engine(checkout: Checkout) -> None:
    assert checkout.run("tenant", "list").returncode == 0
    assert not (checkout.root / ".engines").exists()


def test_a_changed_lock_is_installed_again(checkout: Checkout) -> None:
    checkout.run("status")
    lock = checkout.root / "locks/platform.lock"
    lock.write_text(lock.read_text().replace("alpha==1", "alpha==2"))
    checkout.run("status")
    assert len(checkout.uv_calls()) == 2


def test_a_changed_tenant_package_renews_the_engine(checkout: Checkout) -> None:
    checkout.run("up")
    (checkout.root / "src/nagaya_tenant/guard.py").write_text("")
    checkout.run("up")
    assert (checkout.root / ".engines/0.98.0/nagaya/engine.json").read_text() == "install\ninstall\n"


def test_a_changed_tenant_package_renews_engines_that_were_installed_by_hand(checkout: Checkout) -> None:
    checkout.run("up")
    other = checkout.root / ".engines/0.94.6/nagaya/engine.json"
    other.parent.mkdir(parents=True)
    other.touch()
    (checkout.root / "src/nagaya_tenant/guard.py").write_text("")
    checkout.run("up")
    assert other.read_text() == "renew\n"


def test_engines_are_installed_from_the_index_that_pip_knows(checkout: Checkout) -> None:
    result = checkout.run("engine", "install", "0.94.6")
    assert reported(result)["argv"] == ["engine", "install", "0.94.6"]
    assert str(reported(result)["index"]).startswith("file:")


def test_whole_test_runs_need_both_engines(checkout: Checkout) -> None:
    checkout.run("test", "--fast")
    assert [path.name for path in (checkout.root / ".engines").iterdir()] == ["0.98.0"]
    checkout.run("test")
    assert (checkout.root / ".engines/0.94.6/nagaya/engine.json").exists()


def test_an_environment_for_tests_serves_the_platform_as_well(checkout: Checkout) -> None:
    checkout.run("setup", "--dev")
    calls = checkout.uv_calls()
    assert any("locks/dev.lock" in call for call in calls)
    assert any("client-0.98.0.lock" in call for call in calls)
    assert any("--target" in call and "engine-test.lock" in call for call in calls)
    checkout.run("up")
    assert checkout.uv_calls() == calls


def clients_installed(checkout: Checkout) -> list[str]:
    """The stock clients that uv was told to install."""
    calls = [call for call in checkout.uv_calls() if call.startswith("pip sync")]
    return [client for client in CLIENTS if any(call.endswith(f"/engines/{client}.lock") for call in calls)]


def test_every_lock_of_a_stock_client_is_installed_for_whole_test_runs(checkout: Checkout) -> None:
    assert len(CLIENTS) >= 6
    checkout.run("test")
    assert clients_installed(checkout) == CLIENTS


@pytest.mark.parametrize("arguments", [["test", "--fast"], ["prove", "kill"], ["bench"]])
def test_everything_else_needs_only_the_newest_client(checkout: Checkout, arguments: list[str]) -> None:
    checkout.run(*arguments)
    assert clients_installed(checkout) == ["client-0.98.0"]


def test_the_platform_itself_needs_no_client(checkout: Checkout) -> None:
    checkout.run("up")
    checkout.run("setup")
    assert clients_installed(checkout) == []


def test_a_client_that_this_python_is_too_new_for_is_left_out(checkout: Checkout) -> None:
    source = (checkout.root / "run").read_text()
    # As on a machine that has only a Python of the future.
    changed = source.replace('"client-0.75.1": (3, 12)', '"client-0.75.1": (3, 10)')
    assert changed != source
    (checkout.root / "run").write_text(changed)
    result = checkout.run("setup", "--dev")
    assert result.returncode == 0, result.stderr
    assert "ZenML 0.75.1 needs Python 3.10 or older" in result.stderr
    assert clients_installed(checkout) == [client for client in CLIENTS if client != "client-0.75.1"]


def test_a_failed_installation_is_one_sentence_and_the_next_run_repairs_it(checkout: Checkout) -> None:
    broken = checkout.run("status", UV_FAILS="1")
    assert broken.returncode == 1
    assert "no network" in broken.stderr
    assert "./run: this command failed with exit code 2" in broken.stderr
    assert "Traceback" not in broken.stderr
    assert checkout.run("status").returncode == 0


def test_a_kill_in_the_middle_makes_the_environment_anew(checkout: Checkout) -> None:
    busy = Path(f"{checkout.record}.busy")
    process = subprocess.Popen(
        checkout.command("status"),
        env=checkout.environment(UV_SLOW="60"),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not busy.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    half_made = checkout.root / ".venv" / "half-made"
    half_made.touch()
    result = checkout.run("status")
    assert result.returncode == 0, result.stderr
    assert not half_made.exists()


def test_two_runs_at_once_install_one_after_the_other(checkout: Checkout) -> None:
    processes = [
        subprocess.Popen(
            checkout.command("status"),
            env=checkout.environment(UV_SLOW="1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(checkout.uv_calls()) == 1
    assert any("another ./run is installing" in errors for _, errors in outputs)


def test_uv_comes_from_the_index_that_pip_is_configured_for(without_uv: Checkout) -> None:
    assert without_uv.run("status").returncode == 0
    assert len(without_uv.uv_calls()) == 1


def test_a_python_with_neither_pip_nor_ensurepip(without_uv: Checkout, python_without_pip: Path) -> None:
    checkout = without_uv
    if not list(Path("/usr/share/python-wheels").glob("pip-*.whl")):
        pytest.skip("this machine has no pip wheel in /usr/share/python-wheels")
    checkout.python = str(python_without_pip / "bin" / "python")
    result = checkout.run("status", PYTHONPATH=str(python_without_pip / "hidden"))
    assert result.returncode == 0, result.stderr


def test_a_machine_without_any_installer_is_told_what_to_do(without_uv: Checkout, python_without_pip: Path) -> None:
    checkout = without_uv
    source = (checkout.root / "run").read_text()
    (checkout.root / "run").write_text(source.replace("/usr/share/python-wheels", str(checkout.home)))
    tools = checkout.root.parent / "empty"
    tools.mkdir()
    checkout.python = str(python_without_pip / "bin" / "python")
    result = checkout.run("status", PYTHONPATH=str(python_without_pip / "hidden"), PATH=str(tools))
    assert result.returncode == 1
    assert "apt-get install python3-pip" in result.stderr


def test_a_wheel_with_another_hash_is_refused(without_uv: Checkout) -> None:
    checkout = without_uv
    lock = checkout.root / "locks/platform.lock"
    lock.write_text(lock.read_text().replace("--hash=sha256:", "--hash=sha256:00", 2)[:-3] + "\n")
    result = checkout.run("status")
    assert result.returncode == 1
    assert checkout.uv_calls() == []


def test_exec_runs_in_the_environment_and_passes_the_exit_code_on(checkout: Checkout) -> None:
    result = checkout.run("exec", "python", "-c", "import nagaya, sys; print(sys.prefix); sys.exit(7)")
    assert result.returncode == 7
    assert result.stdout.strip() == str(checkout.root / ".venv")


def test_exec_without_a_command_and_with_an_unknown_one(checkout: Checkout) -> None:
    assert "say what to run" in checkout.run("exec").stderr
    assert "cannot run no-such-command" in checkout.run("exec", "no-such-command").stderr


def test_a_moved_checkout_makes_its_environment_anew(checkout: Checkout) -> None:
    checkout.run("status")
    moved = checkout.root.with_name("moved")
    shutil.move(checkout.root, moved)
    checkout.root = moved
    result = checkout.run("exec", "python", "-c", "import nagaya; print(nagaya.__file__)")
    assert result.stdout.startswith(str(moved))


@pytest.mark.parametrize(("verb", "package"), [("prove", "proofs"), ("bench", "bench")])
def test_proofs_and_benches_get_the_arguments(checkout: Checkout, verb: str, package: str) -> None:
    folder = checkout.root / package
    folder.mkdir()
    (folder / "__main__.py").write_text('"""Says how it was called."""\nimport sys\nprint(sys.argv[1:])\n')
    assert checkout.run(verb, "kill", "--seed", "7").stdout == "['kill', '--seed', '7']\n"


def test_help_needs_nothing(checkout: Checkout) -> None:
    result = checkout.run("--help")
    assert "./run up" in result.stdout
    assert not (checkout.root / ".venv").exists()


def test_an_old_python_and_another_system_are_told_so(checkout: Checkout) -> None:
    for change, sentence in (
        ("sys.version_info = (3, 10, 1)", "Python 3.11 to 3.14 is needed"),
        ("sys.platform = 'darwin'", "the platform needs Linux"),
    ):
        code = f"import sys, runpy; {change}; sys.argv = ['run', 'up']; runpy.run_path('run', run_name='__main__')"
        result = subprocess.run([sys.executable, "-c", code], cwd=checkout.root, capture_output=True, text=True)
        assert result.returncode == 1
        assert sentence in result.stderr


def test_the_locks_are_made_from_the_declared_dependencies() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    platform = (ROOT / "locks" / "platform.in").read_text().split("\n")
    development = (ROOT / "locks" / "dev.in").read_text().split("\n")
    assert set(declared["project"]["dependencies"]) == set(filter(None, platform))
    assert set(declared["dependency-groups"]["dev"]) <= set(development)


def test_the_development_lock_contains_the_platform_lock() -> None:
    def pins(name: str) -> set[str]:
        lines = (ROOT / "locks" / name).read_text().splitlines()
        return {line.rstrip(" \\") for line in lines if "==" in line and not line.startswith((" ", "#"))}

    assert pins("platform.lock") <= pins("dev.lock")
