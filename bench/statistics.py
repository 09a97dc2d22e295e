"""Medians, percentiles and bootstrap intervals of what the benchmarks measure."""

import itertools
import random
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Summary:
    """What is reported of one series, in the series' own unit."""

    count: int
    minimum: float
    median: float
    p95: float
    maximum: float

    def as_dict(self) -> dict[str, float]:
        """Returns the members by name."""
        return asdict(self)


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the value below which `share` of the sorted values lie (nearest rank).

    Args:
        values: At least one value.
        share: Between 0 and 1.
    """
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def summarize(values: Sequence[float]) -> Summary:
    """Returns the summary of a series.

    Args:
        values: At least one value.
    """
    return Summary(len(values), min(values), statistics.median(values), percentile(values, 0.95), max(values))


def summarize_blocks(blocks: Iterable[Iterable[float]]) -> Summary:
    """Returns the summary of all values of all blocks.

    Args:
        blocks: Values by block.
    """
    return summarize(list(itertools.chain.from_iterable(blocks)))


@dataclass(frozen=True)
class Ratio:
    """Ratio of two medians with a 95 % bootstrap interval over blocks."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def ratio_of_medians(numerator: Sequence[Sequence[float]], denominator: Sequence[Sequence[float]]) -> Ratio:
    """Returns median(numerator) / median(denominator) with its interval.

    Whole blocks are resampled, and the same blocks for both sides, because what disturbs a measurement (another
    process, a warm cache) disturbs a block and not a single request.

    Args:
        numerator: Values by block.
        denominator: Values by block, as many blocks.
    """
    if len(numerator) != len(denominator):
        raise ValueError(f"{len(numerator)} blocks beside {len(denominator)}")
    generator = random.Random(20260101)
    blocks = range(len(numerator))

    def ratio(chosen: Sequence[int]) -> float:
        upper = [value for block in chosen for value in numerator[block]]
        lower = [value for block in chosen for value in denominator[block]]
        return statistics.median(upper) / statistics.median(lower)

    samples = sorted(ratio([generator.choice(blocks) for _ in blocks]) for _ in range(2000))
    return Ratio(ratio(list(blocks)), samples[49], samples[1949])
