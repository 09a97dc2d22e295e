"""Turns the numbers of all processes into the text that Prometheus reads; the library is loaded at the first scrape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from nagaya.metrics.catalogue import FAMILIES, Family
from nagaya.metrics.registry import Snapshot

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


def render(snapshots: Iterable[Snapshot]) -> bytes:
    """Return the exposition (text format 0.0.4) of several processes' numbers; unknown families are left out."""
    from prometheus_client import generate_latest  # noqa: PLC0415 - 2 MB that only those who look have to pay for.

    merged: Snapshot = {}
    for snapshot in snapshots:
        for name, rows in snapshot.items():
            merged.setdefault(name, []).extend(rows)
    return generate_latest(_Collection(merged))


class _Collection:
    """What `generate_latest` asks of a registry."""

    def __init__(self, merged: Snapshot) -> None:
        self._merged = merged

    def collect(self) -> Iterator[Metric]:
        """Yield the families in the order of the catalogue."""
        for name, family in FAMILIES.items():
            if name in self._merged:
                yield _family(family, self._merged[name])


def _family(family: Family, rows: list[list[Any]]) -> Metric:
    from prometheus_client.metrics_core import (  # noqa: PLC0415 - as above.
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    names = list(family.labels)
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=names)
        for labels, counts, total in rows:
            histogram.add_metric(labels, _buckets(family.buckets, counts), total)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=names)
    for labels, value in rows:
        metric.add_metric(labels, value)
    return metric


def _buckets(bounds: tuple[float, ...], counts: list[int]) -> list[tuple[str, float]]:
    """Return cumulative counts with their upper bounds."""
    result, total = [], 0
    for bound, count in zip([*map(str, bounds), "+Inf"], counts, strict=True):
        total += count
        result.append((bound, float(total)))
    return result
