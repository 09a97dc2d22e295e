"""The example configuration and alerts of deploy/monitoring: only metrics, labels and values that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from nagaya.metrics.catalogue import FAMILIES

PLACE = Path(__file__).parents[2] / "deploy" / "monitoring"


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((PLACE / "nagaya.rules.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def test_every_alert_is_complete_and_named_once() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"]
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_alerts_use_metrics_labels_and_values_that_exist() -> None:
    for rule in rules():
        found = re.findall(r"(nagaya_[a-z_]+)(?:\{([^}]*)\})?", rule["expr"])
        assert found or "up{" in rule["expr"]
        for name, selector in found:
            family = FAMILIES.get(name) or FAMILIES[re.sub(r"_(bucket|count|sum)$", "", name)]
            assert (family.name == name) == (family.kind != "histogram"), name
            for label, value in re.findall(r'(\w+)=~?"([^"]*)"', selector or ""):
                assert set(value.split("|")) <= set(family.labels[label]), (name, label, value)
        text = rule["annotations"]["summary"]
        known = {"instance", *(label for family in FAMILIES.values() for label in family.labels)}
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= known


def test_the_scrape_configuration_reads_these_rules() -> None:
    document = yaml.safe_load((PLACE / "prometheus.yml").read_text())
    assert document["rule_files"] == ["nagaya.rules.yml"]
    (job,) = document["scrape_configs"]
    assert (job["job_name"], job["metrics_path"]) == ("nagaya", "/metrics")
    assert 'job="nagaya"' in rules()[0]["expr"]
