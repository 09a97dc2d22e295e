"""What every scenario gets, and the rows that it returns."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.statistics import Ratio, Summary
from harness.platform import Platform


@dataclass(frozen=True)
class Context:
    """The platform under measurement and the engine whose plain server it is compared with."""

    platform: Platform
    engine_python: Path
    directory: Path
    blocks: int
    """How many blocks of each side are interleaved; at least 10 for figures that are published."""


@dataclass(frozen=True)
class Row:
    """One measured figure and the bar it is held against."""

    name: str
    unit: str
    value: float
    bar: str
    met: bool
    ratio: Ratio | None = None
    series: dict[str, Summary] = field(default_factory=dict)
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Returns the row for the results file."""
        return {
            "name": self.name,
            "unit": self.unit,
            "value": round(self.value, 3),
            "bar": self.bar,
            "met": self.met,
            "ratio": str(self.ratio) if self.ratio else None,
            "series": {name: summary.as_dict() for name, summary in self.series.items()},
            "note": self.note,
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
