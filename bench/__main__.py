"""`./run bench [--blocks N] [SCENARIO …]`: runs the scenarios, prints a table, writes `bench/results/`."""

import argparse
import datetime as dt
import importlib
import json
import os
import platform as machine
import sys
from pathlib import Path

from bench.context import Context, Row
from harness.place import open_directory
from harness.platform import ROOT, Platform

SCENARIOS = ("create", "wake", "openapi", "memory", "proxy", "policy")


def describe_machine() -> dict[str, object]:
    """Returns what the figures depend on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        machine.machine(),
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024 // 1024
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": memory,
        "kernel": machine.release(),
        "python": machine.python_version(),
        "load_before": os.getloadavg()[0],
    }


def show(rows: list[Row]) -> None:
    """Prints rows as a table."""
    for row in rows:
        mark = "ok  " if row.met else "MISS"
        ratio = f"  ratio {row.ratio}" if row.ratio else ""
        print(f"{mark} {row.name:46} {row.value:10.2f} {row.unit:7} bar {row.bar}{ratio}  {row.note}", flush=True)
        for name, series in row.series.items():
            figures = f"min {series.minimum:.1f} p50 {series.median:.1f} p95 {series.p95:.1f} max {series.maximum:.1f}"
            print(f"       {name:28} {figures} (n={series.count})", flush=True)


def main() -> int:
    """Runs what the command line names; returns the exit code: 1 if a bar was missed."""
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; all if none")
    parser.add_argument("--blocks", type=int, default=10, help="interleaved blocks of each side (default 10)")
    parser.add_argument("--write", action="store_true", help="keep the figures in bench/results/")
    arguments = parser.parse_args()
    if unknown := set(arguments.scenarios) - set(SCENARIOS):
        parser.error(f"unknown scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    facts = describe_machine()
    today = dt.datetime.now(dt.UTC).date().isoformat()
    print(f"{today}: {facts}", flush=True)
    rows: list[Row] = []
    engines = Path(os.environ.get("NAGAYA_ENGINES_DIR", str(ROOT / ".engines")))
    with open_directory("bench") as directory, Platform(directory / "data") as platform:
        context = Context(platform, engines / "0.98.0" / "bin" / "python", directory, arguments.blocks)
        for scenario in arguments.scenarios or SCENARIOS:
            found: list[Row] = importlib.import_module(f"bench.scenarios.{scenario}").run(context)
            show(found)
            rows += found
    if arguments.write:
        results = ROOT / "bench" / "results"
        results.mkdir(exist_ok=True)
        record = {"date": today, "machine": facts, "rows": [row.as_dict() for row in rows]}
        (results / f"{today}.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
