"""Counts and times in one process: plain numbers, so that a request costs a microsecond and no library is loaded.

The gateway, which shows the metrics of all processes, turns them into text with the library (`exposition`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

from nagaya.metrics.catalogue import OTHER, Family

Labels = tuple[str, ...]
Snapshot = dict[str, list[list[Any]]]
"""For each family a list of `[labels, value]`, or `[labels, [count of each bucket, and beyond], sum]`."""


class Counter:
    """A number for each combination of labels. Gauges that are set by hand are kept in the same way."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.values: dict[Labels, float] = {}
        if family.enumerated:
            self.values = dict.fromkeys(product(*family.labels.values()), 0.0)

    def inc(self, *labels: str, by: float = 1.0) -> None:
        """Count."""
        key = labels if labels in self.values else _known(self.family, labels)
        self.values[key] = self.values.get(key, 0.0) + by

    def forget(self, label: str) -> None:
        """Drop the series whose first label is `label`: what it names is gone."""
        for key in [key for key in self.values if key and key[0] == label]:
            del self.values[key]

    def rows(self) -> list[list[Any]]:
        """Return the values for a snapshot."""
        return [[list(labels), value] for labels, value in self.values.items()]


class Histogram:
    """Counts by size for each combination of labels."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self._bounds = family.buckets
        self.values: dict[Labels, tuple[list[int], list[float]]] = {}
        for key in product(*family.labels.values()):
            self._new(key)

    def _new(self, key: Labels) -> tuple[list[int], list[float]]:
        made = self.values[key] = ([0] * (len(self._bounds) + 1), [0.0])
        return made

    def observe(self, seconds: float, *labels: str) -> None:
        """Take in one duration."""
        found = self.values.get(labels)
        if found is None:
            key = _known(self.family, labels)
            found = self.values.get(key) or self._new(key)
        counts, total = found
        counts[bisect_left(self._bounds, seconds)] += 1
        total[0] += seconds

    def rows(self) -> list[list[Any]]:
        """Return the values for a snapshot."""
        return [[list(labels), list(counts), total[0]] for labels, (counts, total) in self.values.items()]


def _known(family: Family, labels: Labels) -> Labels:
    """Return the labels with `other` for what is not enumerated; open labels stay as they are."""
    if len(labels) != len(family.labels):
        raise ValueError(f"{family.name} has the labels {list(family.labels)}, not {len(labels)} of them")
    allowed = family.labels.values()
    return tuple(
        label if not values or label in values else OTHER for label, values in zip(labels, allowed, strict=True)
    )


class Registry:
    """The metrics of one process.

    Args:
        families: What it may count.
    """

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = {family.name: family for family in families}
        self._metrics: dict[str, Counter | Histogram] = {}
        self._gauges: dict[str, Callable[[], dict[Labels, float]]] = {}

    def counter(self, name: str) -> Counter:
        """Return the counter of this name, made at the first call."""
        found = self._metrics.get(name)
        if not isinstance(found, Counter):
            found = self._metrics[name] = Counter(self._families[name])
        return found

    def histogram(self, name: str) -> Histogram:
        """Return the histogram of this name, made at the first call."""
        found = self._metrics.get(name)
        if not isinstance(found, Histogram):
            found = self._metrics[name] = Histogram(self._families[name])
        return found

    def gauge(self, name: str, read: Callable[[], dict[Labels, float]]) -> None:
        """Let `read` say the values of a gauge whenever somebody looks; labels that it leaves out are 0."""
        self._gauges[self._families[name].name] = read

    def snapshot(self) -> Snapshot:
        """Return all numbers as they are now, for JSON."""
        result: Snapshot = {name: metric.rows() for name, metric in self._metrics.items()}
        for name, read in self._gauges.items():
            family = self._families[name]
            values = dict.fromkeys(product(*family.labels.values()), 0.0) if family.enumerated else {}
            for labels, value in read().items():
                values[_known(family, labels)] = value
            result[name] = [[list(labels), value] for labels, value in values.items()]
        return result
