"""Counting in one process, and the text that comes of it, read by Prometheus' own parser."""

from __future__ import annotations

import ast
import json
import math
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from nagaya.gateway.wake import _FAILURES
from nagaya.metrics import catalogue
from nagaya.metrics.catalogue import FAMILIES, OPEN, OTHER
from nagaya.metrics.exposition import render
from nagaya.metrics.registry import Registry
from nagaya.operations.service import PHASES

SOURCE = Path(__file__).parents[2] / "src"


def parsed(*registries: Registry) -> dict[str, dict[tuple[str, ...], float]]:
    """What a Prometheus server reads, by sample name and label values; each snapshot has crossed a socket."""
    snapshots = [json.loads(json.dumps(registry.snapshot())) for registry in registries]
    samples: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(render(snapshots).decode()):
        assert family.documentation
        for sample in family.samples:
            known = samples.setdefault(sample.name, {})
            key = tuple(value for _, value in sorted(sample.labels.items()))
            assert key not in known, "a series appears twice"
            known[key] = sample.value
    return samples


def test_every_series_of_enumerated_labels_exists_before_anything_happens() -> None:
    registry = Registry(FAMILIES.values())
    for family in FAMILIES.values():
        if family.kind == "histogram":
            registry.histogram(family.name)
        elif family.kind == "counter":
            registry.counter(family.name)
        else:
            registry.gauge(family.name, dict)
    samples = parsed(registry)
    for family in FAMILIES.values():
        expected = math.prod(len(values) for values in family.labels.values())
        name = f"{family.name}_count" if family.kind == "histogram" else family.name
        assert len(samples.get(name, {})) == (expected if family.enumerated else 0), family.name


def test_what_was_counted_is_what_is_read() -> None:
    registry = Registry(FAMILIES.values())
    registry.counter("nagaya_gateway_refusals_total").inc("BadRequest")
    registry.counter("nagaya_gateway_refusals_total").inc("BadRequest", by=2)
    spawn = registry.histogram("nagaya_spawn_seconds")
    for seconds in (0.02, 0.025, 0.2, 1000.0):
        spawn.observe(seconds, "total")
    registry.gauge("nagaya_tenants", lambda: {("awake",): 3.0})
    samples = parsed(registry)
    assert samples["nagaya_gateway_refusals_total"]["BadRequest",] == 3
    buckets = {le: value for (le, phase), value in samples["nagaya_spawn_seconds_bucket"].items() if phase == "total"}
    assert (buckets["0.025"], buckets["0.15"], buckets["0.25"], buckets["60.0"], buckets["+Inf"]) == (2, 2, 3, 3, 4)
    assert samples["nagaya_spawn_seconds_sum"]["total",] == pytest.approx(1000.245)
    assert samples["nagaya_tenants"]["awake",] == 3
    assert samples["nagaya_tenants"]["asleep",] == 0


def test_what_is_not_enumerated_is_counted_as_other_and_never_becomes_a_label() -> None:
    registry = Registry(FAMILIES.values())
    registry.counter("nagaya_gateway_refusals_total").inc("what a user wrote")
    registry.counter("nagaya_gateway_refusals_total").inc("something else")
    registry.histogram("nagaya_gateway_wake_seconds").observe(1, "no such outcome")
    samples = parsed(registry)
    assert samples["nagaya_gateway_refusals_total"][OTHER,] == 2
    assert samples["nagaya_gateway_wake_seconds_count"][OTHER,] == 1
    with pytest.raises(ValueError, match="not 2 of them"):
        registry.counter("nagaya_gateway_refusals_total").inc("BadRequest", "more")


def test_open_labels_grow_and_can_be_forgotten() -> None:
    registry = Registry(FAMILIES.values())
    requests = registry.counter("nagaya_tenant_requests_total")
    requests.inc('acme/"one"\n', "2xx")
    requests.inc("acme/two", "5xx")
    assert parsed(registry)["nagaya_tenant_requests_total"]["2xx", 'acme/"one"\n'] == 1
    requests.forget('acme/"one"\n')
    assert set(parsed(registry)["nagaya_tenant_requests_total"]) == {("5xx", "acme/two")}


def test_numbers_of_several_processes_are_one_exposition() -> None:
    gateway, keeper = Registry(catalogue.GATEWAY), Registry(catalogue.KEEPER)
    gateway.counter("nagaya_gateway_refusals_total")
    keeper.counter("nagaya_spawns_total")
    text = render([gateway.snapshot(), keeper.snapshot(), {"unknown_of_a_newer_process": [[[], 1.0]]}]).decode()
    assert text.count("# TYPE nagaya_spawns_total counter") == 1
    assert "unknown" not in text.replace(OTHER, "").replace('outcome="unknown"', "")


def literals(package: str, call: str, position: int) -> set[str]:
    """The string literals at one position of all calls of a name below a package."""
    found = set()
    for path in (SOURCE / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == call:
                arguments = node.args[position : position + 1]
                found |= {each.value for each in arguments if isinstance(each, ast.Constant)}
    return {value for value in found if isinstance(value, str)}


def test_every_reason_of_the_source_is_enumerated() -> None:
    codes = literals("nagaya/gateway", "GatewayError", 1) | {code for _, code, _ in _FAILURES.values()}
    assert codes <= set(catalogue.REFUSALS)
    assert set(_FAILURES) < set(catalogue.WAKE_OUTCOMES)
    assert set(PHASES) == set(catalogue.OPERATION_KINDS)
    zygotes = (SOURCE / "nagaya/runtime/local/zygotes.py").read_text()
    states = set(re.findall(r'self\.state(?:, [^=\n]*)? = "(\w+)"', zygotes)) | {"idle"}
    assert states <= set(catalogue.ENGINE_STATES)


def test_no_name_or_label_breaks_the_conventions() -> None:
    for family in FAMILIES.values():
        assert re.fullmatch(r"nagaya_[a-z_]+[a-z]", family.name)
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert bool(family.buckets) == (family.kind == "histogram")
        assert list(family.buckets) == sorted(family.buckets)
        assert family.help.endswith((".", "for."))
        for label, values in family.labels.items():
            assert re.fullmatch(r"[a-z_]+", label)
            assert len(set(values)) == len(values)
            assert values is OPEN or OPEN == () != values
