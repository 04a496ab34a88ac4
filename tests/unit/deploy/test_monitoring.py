"""The board and the alert rules ask for metrics and labels that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from milepost.worker.metrics import CATALOGUE, Metric

ROOT = Path(__file__).parents[3]
BOARD = ROOT / "deploy" / "grafana" / "milepost.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
GUIDE = ROOT / "docs" / "guides" / "observability.md"

_SERIES: dict[str, Metric] = {name: metric for metric in CATALOGUE for name in metric.series}
_WORDS = {"and", "or", "unless", "offset", "bool"}
_GROUPING = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_FROM_OUTSIDE = {"instance", "job", "le"}


def unknown(expression: str) -> list[str]:
    """Return the metrics and labels of a PromQL expression that the catalogue does not have."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    bare = re.sub(r"\[[^]]*\]|\boffset\s+\w+", "", bare)
    found, allowed = [], set(_FROM_OUTSIDE)
    for name, matchers in re.findall(r"\b([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})", bare):
        labels = set(_SERIES[name].labels) | _FROM_OUTSIDE if name in _SERIES else set()
        used = re.findall(r"(\w+)\s*[=!]", matchers)
        found += [f"{name}{{{label}}}" for label in used if label not in labels]
    bare = re.sub(r"\{[^}]*\}", "", bare)
    grouped = re.findall(rf"\b(?:{'|'.join(_GROUPING)})\s*\(([^)]*)\)", bare)
    bare = re.sub(rf"\b(?:{'|'.join(_GROUPING)})\s*\([^)]*\)", "", bare)
    for name in re.findall(r"\b([a-zA-Z_:][\w:]*)\b(?!\s*\()", bare):
        if name in _SERIES:
            allowed |= {*_SERIES[name].labels}
        elif name not in _WORDS:
            found.append(name)
    return found + [
        label for group in grouped for label in re.findall(r"\w+", group) if label not in allowed
    ]


def test_the_reader_of_expressions_finds_what_is_not_there() -> None:
    """A judge that passes everything is none."""
    good = (
        'sum by (stage) (rate(milepost_stage_tries_total{outcome="committed"}[5m] offset 1h)) > 0'
    )
    assert unknown(good) == []
    assert unknown(good.replace("tries", "trials")) != []
    assert unknown(good.replace("outcome=", "result=")) != []
    assert unknown(good.replace("by (stage)", "by (queue)")) == ["queue"]
    assert unknown("milepost_stage_duration_seconds > 1") == ["milepost_stage_duration_seconds"]
    assert unknown("up == 0") == ["up"]


def expressions(node: Any) -> list[str]:
    """Return all PromQL of a board."""
    if isinstance(node, list):
        return [found for each in node for found in expressions(each)]
    if isinstance(node, dict):
        mine = [node["expr"]] if isinstance(node.get("expr"), str) else []
        return mine + [found for each in node.values() for found in expressions(each)]
    return []


def test_the_board_shows_only_what_there_is() -> None:
    board = json.loads(BOARD.read_text())
    found = expressions(board)
    queries = [v["query"] for v in board["templating"]["list"] if v["type"] == "query"]

    assert len(found) > 20
    assert {text: missing for text in found if (missing := unknown(text))} == {}
    for query in queries:
        asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", query)
        assert asked
        assert asked[2] in _SERIES[asked[1]].labels


def test_the_board_leaves_nothing_out() -> None:
    text = BOARD.read_text()

    assert [metric.name for metric in CATALOGUE if metric.name not in text] == []


def test_panels_do_not_overlap() -> None:
    """As Grafana lays them out: 24 columns."""
    taken: dict[tuple[int, int], str] = {}
    for panel in json.loads(BOARD.read_text())["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def rules() -> list[dict[str, Any]]:
    return [
        rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
    ]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    """And tells what to do; the labels it names are there."""
    assert unknown(rule["expr"]) == []
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert set(rule["annotations"]) == {"summary", "action"}
    named = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
    series = [_SERIES[name] for name in re.findall(r"milepost_\w+", rule["expr"])]
    assert named <= {label for metric in series for label in metric.labels} | {"instance"}


def test_the_guide_names_each_metric() -> None:
    text = GUIDE.read_text()

    assert [metric.name for metric in CATALOGUE if f"`{metric.name}`" not in text] == []
    assert set(re.findall(r"`(milepost_\w+)`", text)) <= {metric.name for metric in CATALOGUE}


def test_names_follow_the_rules() -> None:
    """Counters end in _total, times in seconds, and no label can have a value for each run."""
    for metric in CATALOGUE:
        assert metric.name.startswith("milepost_")
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert set(metric.labels) <= {"pipeline", "stage", "outcome", "cause", "status", "queue"}
        assert metric.help.endswith(".")
