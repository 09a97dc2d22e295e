"""Runs every check and every suite, in the environment each needs, and closes with one line of totals (`./run test`).

python -m tests [--fast] [--only NAME] [pytest arguments]
--fast leaves out the end-to-end tests and the coverage thresholds; --only runs one stage: lint, format, types, or one
of the suites below. With pytest arguments, those that name files run in the environment of these files.
Whole runs measure coverage; two suites run at a time. A process that a suite leaves behind
fails it. With CI=true a test that is skipped because a browser, PostgreSQL, the engine or the client is missing counts
as failed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.warden import LEFTOVERS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / ".cache" / "results"
ENGINES = ROOT / ".engines"
DEFAULT_ENGINE, SECOND_ENGINE = "0.98.0", "0.94.6"
ENGINE = ENGINES / DEFAULT_ENGINE
ENGINE_TEST = ROOT / ".cache" / "engine-test"
CLIENT = ROOT / ".clients" / "0.98.0"
THRESHOLDS = {"src": 90.0, "src/nagaya_policy": 100.0}
"""Lowest accepted coverage of lines and branches in per cent, by directory."""
CHECKED = ("src", "tests", "bench", "harness", "proofs", "run")
NOT_INSTALLED = -1
"""In place of an exit code: the engine of a suite is not there."""
MISSING = re.compile("chromium|client|engine|postgresql|zenml", re.IGNORECASE)
"""What the reason of a skip names when something is not installed that continuous integration has to have."""


@dataclass(frozen=True)
class Suite:
    """Tests that run in one pytest process.

    Args:
        name: Name for `--only`.
        places: Files and directories.
        engine: In an engine's environment.
        version: Which engine's.
        real: Whole platforms with stock clients and browsers; `--fast` leaves these out.
        measured: Under coverage.
        database: What the control plane's tests run on (see `tests.databases`).
    """

    name: str
    places: tuple[str, ...]
    engine: bool = False
    version: str = DEFAULT_ENGINE
    real: bool = False
    measured: bool = True
    database: str = "sqlite"


def in_second_engine(name: str, *places: str) -> Suite:
    """The same tests in the other engine's environment; only whole runs have it, as `--fast` does not install it."""
    return Suite(f"{name}-{SECOND_ENGINE}", places, engine=True, version=SECOND_ENGINE, real=True, measured=False)


MATRIX = "tests/tenant/guard/test_matrix.py"
PLATFORMS = ("tests/e2e/test_proofs.py", "tests/e2e/test_unprivileged.py")
"""End-to-end tests that start platforms of their own."""
SUITES = (
    # These show that the processes work together, so they are left as they are. The longest suite comes first, so that
    # it does not run alone at the end.
    Suite("e2e", ("tests/e2e", *(f"--ignore={place}" for place in PLATFORMS)), real=True, measured=False),
    # Thousands of requests through the same few lines: measuring them would only double their time.
    Suite("matrix", (MATRIX,), engine=True, measured=False),
    Suite("api", ("tests/api",)),
    # The same tests once more; those that have no database leave themselves out.
    Suite("postgresql", ("tests/api", "tests/database"), database="postgresql"),
    Suite("guard", (f"--ignore={MATRIX}", "tests/tenant/guard"), engine=True),
    Suite("runtime", ("tests/runtime", "tests/supervisor", "tests/engines")),
    Suite("process", ("tests/tenant/process",), engine=True),
    in_second_engine("matrix", MATRIX),
    in_second_engine("guard", f"--ignore={MATRIX}", "tests/tenant/guard"),
    in_second_engine("process", "tests/tenant/process"),
    Suite("rest", ("tests",)),
    # As the matrix.
    Suite("fuzz", ("tests/fuzz",), measured=False),
    Suite("platforms", (*PLATFORMS, "tests/docs/test_tutorial.py"), real=True, measured=False),
)
ELSEWHERE = [
    f"--ignore={place}" for suite in SUITES if suite.name != "rest" for place in suite.places if place[0] != "-"
]
"""What keeps the suite `rest`, which has everything that is in no other suite, from running the others' tests."""


@dataclass
class Report:
    """What has been counted so far, over all stages."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    broken: list[str] = field(default_factory=list)

    def add_junit(self, stage: str, file: Path) -> None:
        """Adds the counts of one pytest run; a run that left no result file has broken before its first test."""
        if not file.exists():
            self.broken.append(stage)
            return
        root = ET.parse(file).getroot()
        for suite in root.iter("testsuite"):
            tests, skipped = int(suite.get("tests", "0")), int(suite.get("skipped", "0"))
            failed = int(suite.get("failures", "0")) + int(suite.get("errors", "0"))
            self.skipped += skipped
            self.failed += failed
            self.passed += max(tests - failed - skipped, 0)
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            self._refuse_missing(root)

    def miss(self, suite: Suite) -> None:
        """Counts a suite whose engine could not be installed on this machine: as failed where it has to be there."""
        print(f"--- {suite.name}: skipped, because there is no engine {suite.version}")
        if os.environ.get("CI", "").lower() in {"1", "true"}:
            self.broken.append(suite.name)
        else:
            self.skipped += 1

    def _refuse_missing(self, root: ET.Element) -> None:
        for case in root.iter("testcase"):
            for skip in case.iter("skipped"):
                if MISSING.search(f"{skip.get('message')} {skip.text}"):
                    self.skipped -= 1
                    self.failed += 1
                    print(f"skipped, which is a failure here: {case.get('name')}: {skip.get('message')}")

    def summary(self) -> str:
        """The closing line."""
        return f"{self.passed} passed, {self.failed + len(self.broken)} failed, {self.skipped} skipped"


def execute(stage: str, command: list[str], log: Path | None = None, **environment: str) -> int:
    """Runs one stage, shows how long it took, returns its exit code; with `log` its output is shown at its end."""
    print(f"--- {stage}", flush=True)
    begin = time.monotonic()
    with log.open("wb") if log else contextlib.nullcontext() as file:
        code = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        ).returncode
    output = log.read_text(errors="replace") if log else ""
    ending = f"--- {stage}: {'ok' if code == 0 else f'failed ({code})'} in {time.monotonic() - begin:.1f} s\n"
    print(output + ending, flush=True)
    return code


def static_checks(only: str | None) -> list[tuple[str, list[str]]]:
    """The checks that run no code of ours."""
    python = sys.executable
    present = [path for path in CHECKED if (ROOT / path).exists()]
    checks = [
        ("lint", [python, "-m", "ruff", "check", *present]),
        ("format", [python, "-m", "ruff", "format", "--check", *present]),
        ("types", [python, "-m", "mypy", "src"]),
    ]
    return [(name, command) for name, command in checks if only in (None, name)]


def run_suite(suite: Suite, arguments: Sequence[str], *, measured: bool, quiet: bool) -> int:
    """Runs one suite under the warden, under coverage if it is to be measured; returns its exit code."""
    python = str(ENGINES / suite.version / "bin" / "python") if suite.engine else sys.executable
    if suite.version != DEFAULT_ENGINE and not Path(python).exists():
        return NOT_INSTALLED
    environment = {"NAGAYA_TEST_ENGINE": str(ENGINE), "NAGAYA_TEST_ZENML": str(CLIENT / "bin" / "zenml")}
    if suite.engine:
        environment = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ENGINE_TEST)])}
        if suite.version != DEFAULT_ENGINE:
            environment["NAGAYA_TEST_MATRIX"] = "reduced"
    environment["NAGAYA_TEST_DATABASE"] = suite.database
    tool = ["coverage", "run", "-m", "pytest"] if measured else ["pytest"]
    file = RESULTS / f"{suite.name}.xml"
    command = [sys.executable, "-m", "tests.warden", python, "-m", *tool, f"--junit-xml={file}", *arguments]
    environment |= {"COVERAGE_FILE": str(RESULTS / f".coverage.{suite.name}")}
    return execute(suite.name, command, RESULTS / f"{suite.name}.log" if quiet else None, **environment)


def run_suites(report: Report, only: str | None, fast: bool, arguments: list[str]) -> None:
    """Runs the suites that are wanted, two at a time, and adds their counts."""
    chosen = [suite for suite in SUITES if only in (None, suite.name) and not (fast and suite.real)]
    named = [a for a in arguments if not a.startswith("-") and (ROOT / a.split("::")[0]).exists()]
    options = ["-m", "not e2e"] * fast + [a for a in arguments if a not in named]
    if named:
        inside = [a for a in named if a.startswith("tests/tenant")]
        given = [("engine", inside, True), ("platform", [a for a in named if a not in inside], False)]
        chosen = [Suite(name, tuple(places), engine=engine) for name, places, engine in given if places]
    measured = not (only or fast or arguments)

    def run(suite: Suite, *, quiet: bool = True) -> tuple[Suite, int]:
        ignored = ELSEWHERE if suite.name == "rest" else []
        wanted = [*options, *ignored, *suite.places]
        return suite, run_suite(suite, wanted, measured=measured and suite.measured, quiet=quiet)

    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(lambda suite: run(suite, quiet=len(chosen) > 1), chosen))
    for suite, code in codes:
        if code == NOT_INSTALLED:
            report.miss(suite)
            continue
        report.add_junit(suite.name, RESULTS / f"{suite.name}.xml")
        if code == LEFTOVERS:
            report.broken.append(f"{suite.name} left processes behind")
        elif code not in (0, 1, 5) and suite.name not in report.broken:
            report.broken.append(suite.name)


def coverage_checks(report: Report) -> None:
    """Combines the coverage of all suites and compares it with the thresholds."""
    tool = [sys.executable, "-m", "coverage"]
    file = {"COVERAGE_FILE": str(RESULTS / ".coverage")}
    if execute("coverage", [*tool, "combine", "-q", str(RESULTS)], **file):
        report.broken.append("coverage")
        return
    for directory, least in THRESHOLDS.items():
        options = [f"--include={directory}/*", f"--fail-under={least}", "--precision=1"]
        if execute(f"coverage of {directory} (at least {least:g} %)", [*tool, "report", *options], **file):
            report.broken.append(f"coverage of {directory}")


def main() -> int:
    """Runs the stages; returns 0 when everything passed."""
    parser = argparse.ArgumentParser(prog="./run test", description=__doc__, allow_abbrev=False)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--only", choices=["lint", "format", "types", *(suite.name for suite in SUITES)])
    options, arguments = parser.parse_known_args()
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    # Processes that have given up root write their part of the coverage too.
    RESULTS.chmod(0o1777)
    report = Report()
    if not arguments:
        report.broken += [name for name, command in static_checks(options.only) if execute(name, command)]
    if options.only not in ("lint", "format", "types"):
        run_suites(report, options.only, options.fast, arguments)
        if not (options.only or options.fast or arguments):
            coverage_checks(report)
    for stage in report.broken:
        print(f"broken: {stage}")
    print(report.summary(), flush=True)
    return 1 if report.failed or report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
