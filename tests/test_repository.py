"""What must hold for every file of the repository: sizes, first lines, locks, nothing that belongs to one machine."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LONGEST_FILE = 500
# Written in pieces, because this file is searched as well.
REGISTRY_HOSTS = re.compile(
    "|".join(["pypi" + r"\.org", "python" + "hosted", "registry" + r"\.npmjs", "deb" + r"\.debian\.org"])
)
MACHINE_PATHS = re.compile(r"(?<![A-Za-z0-9_.])/(?:work|farm|root)/|/home/[a-z]|/tmp/" + r"w/")


def tracked() -> list[Path]:
    """The files of the repository as git knows them, including those that are not committed yet."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str:
    """The content of a text file; empty for anything else."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


PYTHON = [path for path in tracked() if path.suffix == ".py" or path == ROOT / "run"]
LOCKS = [path for path in tracked() if path.suffix == ".lock"]


def lines_matching(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked()
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_package_registry_is_named() -> None:
    assert lines_matching(REGISTRY_HOSTS) == []


def test_no_path_of_one_machine_is_named() -> None:
    assert [found for found in lines_matching(MACHINE_PATHS) if not found.startswith("tests/test_repository.py")] == []


def test_no_file_is_too_long() -> None:
    code = [p for p in tracked() if p.suffix in {".py", ".ts", ".tsx", ".css"} and not p.name.endswith(".gen.ts")]
    too_long = [p for p in [*code, ROOT / "run"] if len(text_of(p).splitlines()) > LONGEST_FILE]
    assert [str(path.relative_to(ROOT)) for path in too_long] == []


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_first_line_says_what_the_file_is_for(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(text_of(path)))
    assert docstring, "the file has no docstring"
    assert re.search(r"[.:;…]$", docstring.splitlines()[0].rstrip()) or "\n" in docstring
    lines = text_of(path).splitlines()
    assert lines[0].startswith(('"""', "'''", 'r"""', "#!")), "the docstring is not in the first line"


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_locked_package_has_hashes(path: Path) -> None:
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text_of(path).strip())
    without = [block.splitlines()[0] for block in blocks if "==" in block and "--hash=sha256:" not in block]
    assert blocks
    assert without == []


def test_the_license_is_complete() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_programs_are_executable() -> None:
    for name in ("run", ".ci/run"):
        assert (ROOT / name).stat().st_mode & 0o111, f"{name} is not executable"
