"""Runs every check and every suite, in the environment each needs, and closes with one line of totals (`./run test`).

python -m tests [--fast] [--only NAME] [pytest arguments]
--fast leaves out the end-to-end tests and the coverage thresholds; --only runs one stage (lint, format, types,
platform, tenant).
With pytest arguments that name a file or select tests the thresholds are left out as well: they hold for the whole.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / ".cache" / "results"
ENGINE = ROOT / ".engines" / "0.98.0"
ENGINE_TEST = ROOT / ".cache" / "engine-test"
THRESHOLDS = {"src": 90.0, "src/nagaya_policy": 100.0}
"""Lowest accepted branch coverage in per cent, by directory."""
CHECKED = ("src", "tests", "harness", "bench", "proofs", "run")


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
        for suite in ET.parse(file).getroot().iter("testsuite"):
            tests, skipped = int(suite.get("tests", "0")), int(suite.get("skipped", "0"))
            failed = int(suite.get("failures", "0")) + int(suite.get("errors", "0"))
            self.skipped += skipped
            self.failed += failed
            self.passed += max(tests - failed - skipped, 0)

    def summary(self) -> str:
        """The closing line."""
        return f"{self.passed} passed, {self.failed + len(self.broken)} failed, {self.skipped} skipped"


def execute(stage: str, command: list[str], **environment: str) -> int:
    """Runs one stage, shows how long it took, returns its exit code."""
    print(f"--- {stage}", flush=True)
    begin = time.monotonic()
    code = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, stdin=subprocess.DEVNULL).returncode
    print(f"--- {stage}: {'ok' if code == 0 else f'failed ({code})'} in {time.monotonic() - begin:.1f} s\n", flush=True)
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


def pytest_stage(
    report: Report, stage: str, python: str, arguments: list[str], *, measured: bool, **environment: str
) -> None:
    """Runs pytest in one environment, under coverage if it is to be measured, and adds its counts."""
    results = RESULTS / f"{stage}.xml"
    results.unlink(missing_ok=True)
    tool = ["coverage", "run", "-m", "pytest"] if measured else ["pytest"]
    command = [python, "-m", *tool, f"--junit-xml={results}", *arguments]
    code = execute(stage, command, COVERAGE_FILE=str(RESULTS / f".coverage.{stage}"), **environment)
    report.add_junit(stage, results)
    if code not in (0, 1, 5) and stage not in report.broken:
        report.broken.append(stage)


def coverage_checks(report: Report) -> None:
    """Combines the coverage of all environments and compares it with the thresholds."""
    tool = [sys.executable, "-m", "coverage"]
    file = {"COVERAGE_FILE": str(RESULTS / ".coverage")}
    if execute("coverage", [*tool, "combine", "-q", str(RESULTS)], **file):
        report.broken.append("coverage")
        return
    for directory, least in THRESHOLDS.items():
        options = [f"--include={directory}/*", f"--fail-under={least}", "--precision=1"]
        if execute(f"coverage of {directory} (at least {least:g} %)", [*tool, "report", *options], **file):
            report.broken.append(f"coverage of {directory}")


def suites(report: Report, only: str | None, fast: bool, arguments: list[str]) -> None:
    """Runs the platform's tests in its environment and the tenant's tests in the engine's."""
    marks = ["-m", "not e2e"] if fast else []
    measured = not (only or fast or arguments)
    named = [a for a in arguments if not a.startswith("-") and (ROOT / a.split("::")[0]).exists()]
    tenant_named = [a for a in named if a.startswith("tests/tenant")]
    rest = [a for a in arguments if a not in named]
    if only in (None, "platform") and (not named or len(tenant_named) < len(named)):
        places = [a for a in named if a not in tenant_named] or ["--ignore=tests/tenant", "tests"]
        pytest_stage(report, "platform", sys.executable, [*marks, *rest, *places], measured=measured)
    if only in (None, "tenant") and (not named or tenant_named) and (ROOT / "tests" / "tenant").is_dir():
        path = os.pathsep.join([str(ROOT / "src"), str(ENGINE_TEST)])
        python = str(ENGINE / "bin" / "python")
        places = tenant_named or ["tests/tenant"]
        pytest_stage(report, "tenant", python, [*marks, *rest, *places], measured=measured, PYTHONPATH=path)


def main() -> int:
    """Runs the stages; returns 0 when everything passed."""
    parser = argparse.ArgumentParser(prog="./run test", description=__doc__, allow_abbrev=False)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--only", choices=["lint", "format", "types", "platform", "tenant"])
    options, arguments = parser.parse_known_args()
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    report = Report()
    if not arguments:
        report.broken += [name for name, command in static_checks(options.only) if execute(name, command)]
    if options.only in (None, "platform", "tenant"):
        suites(report, options.only, options.fast, arguments)
        if not (options.only or options.fast or arguments):
            coverage_checks(report)
    for stage in report.broken:
        print(f"broken: {stage}")
    print(report.summary(), flush=True)
    return 1 if report.failed or report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
