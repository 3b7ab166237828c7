"""Alerts, dashboard and scaling metric ask for what a live server of this project says."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from cxrexport.ensemble import DEFAULT_MEMBERS

# A server without a GPU has none of these, so their names are Triton's documentation's (User guide,
# Metrics, "GPU Metrics"; gauges of the label gpu_uuid), not a live server's.
GPU_METRICS = {
    "nv_gpu_power_usage",
    "nv_gpu_power_limit",
    "nv_energy_consumption",
    "nv_gpu_utilization",
    "nv_gpu_memory_total_bytes",
    "nv_gpu_memory_used_bytes",
}
# Prometheus' own metric, and the labels that it puts on what it scrapes.
PROMETHEUS_METRICS = {"up"}
PROMETHEUS_LABELS = {"job", "instance", "namespace", "pod"}


def selectors(expression: str) -> Iterator[Any]:
    """Every metric that an expression asks for, from the syntax tree."""
    import promql_parser

    def walk(node: Any) -> Iterator[Any]:
        if isinstance(node, promql_parser.VectorSelector):
            yield node
        for name in ("lhs", "rhs", "expr", "args", "vector_selector"):
            child = getattr(node, name, None)
            for each in child if isinstance(child, list) else [child]:
                if each is not None:
                    yield from walk(each)

    return walk(promql_parser.parse(expression))


@pytest.fixture(scope="session")
def of_a_node(tmp_path_factory) -> str:
    """Metrics of a node that has had films today and before, and knows the training films."""
    import numpy as np

    from cxrclient.node.options import NodeOptions
    from cxrclient.node.spool.spool import Spool
    from cxrclient.node.watch.drift import Drift
    from cxrclient.node.watch.metrics import Metrics
    from finished_films import finish, write_reference

    folder = tmp_path_factory.mktemp("node")
    reference = write_reference(folder / "train.jsonl", np.eye(3, 128))
    with Spool(folder / "spool", ["PACS"], min_free_bytes=0) as spool:
        # Of tomorrow, too, should midnight come; and of two days ago, should a day have 25 hours.
        for days_ago in (-1, 0, 1, 2):
            finish(spool, f"1.{days_ago}", distance=0.1, days_ago=days_ago)
        options = NodeOptions(spool.folder, spool.targets, "127.0.0.1:8001")
        metrics = Metrics(options, spool, Drift(spool, reference))
        return metrics.text({"spool": (True, ""), "triton": (True, "")}).decode()


@pytest.fixture(scope="session")
def live(deployed, of_a_node, write_dicom, tmp_path_factory) -> dict[str, list[dict[str, str]]]:
    """Metrics of a server that has predicted a film, and of a node: name → labels of its series."""
    from cxrclient import CxrClient

    film = write_dicom(tmp_path_factory.mktemp("film") / "film.dcm")
    with CxrClient(f"127.0.0.1:{deployed.grpc_port}") as client:
        client.predict(film)
    found: dict[str, list[dict[str, str]]] = {}
    for name, labels in re.findall(
        r"^(\w+)(?:{(.*)})? \S+$", deployed.metrics() + of_a_node, re.MULTILINE
    ):
        found.setdefault(name, []).append(dict(re.findall(r'(\w+)="([^"]*)"', labels)))
    return found


def test_every_expression_is_promql(expressions):
    assert len(expressions) > 30
    for place, expression in expressions.items():
        assert list(selectors(expression)), place


def test_every_metric_is_one_that_a_live_server_has(expressions, live):
    known = set(live) | GPU_METRICS | PROMETHEUS_METRICS
    asked = {
        (place, selector.name)
        for place, expression in expressions.items()
        for selector in selectors(expression)
    }

    assert {(place, name) for place, name in asked if name not in known} == set()


def test_no_gpu_metric_is_of_a_server_without_a_gpu(live):
    """The list above is needed: were they here, they would be checked like the others."""
    assert not GPU_METRICS & set(live)


def test_every_selector_finds_a_series_of_a_live_server(expressions, live):
    """Labels and their values too: models, quantiles, reasons."""
    empty = []
    for place, expression in expressions.items():
        for selector in selectors(expression):
            if selector.name not in live:
                continue
            matchers = [m for m in selector.matchers.matchers if m.name not in PROMETHEUS_LABELS]
            if not any(
                all(map(_match, matchers, [s] * len(matchers))) for s in live[selector.name]
            ):
                empty.append((place, selector.prettify()))
    assert empty == []


def _match(matcher: Any, series: dict[str, str]) -> bool:
    value = series.get(matcher.name, "")
    operator = str(matcher.op).removeprefix("MatchOp.")
    if operator in ("Equal", "NotEqual"):
        return (value == matcher.value) == (operator == "Equal")
    assert operator in ("Re", "NotRe")
    return (re.fullmatch(matcher.value, value) is not None) == (operator == "Re")


def test_the_ensembles_steps_are_what_the_dashboard_shows(live, model_repository):
    models = {series["model"] for series in live["nv_inference_count"]}

    assert models == {path.parent.name for path in model_repository.glob("*/config.pbtxt")}


def test_no_expression_names_a_member_so_that_each_list_of_members_is_seen(expressions):
    every = set(DEFAULT_MEMBERS)
    by_name = {
        place: expression
        for place, expression in expressions.items()
        if every & set(re.findall(r"\w+", expression))
    }
    assert expressions
    assert by_name == {}


def test_every_alert_says_how_bad_it_is_and_what_to_do(deploy):
    rules = _rules(deploy)

    assert rules
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
        assert rule["annotations"]["summary"].count("{{ $labels.instance }}") == 1, rule["alert"]


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(deploy):
    """`promtool test rules` runs them, below where it is installed."""
    cases = yaml.safe_load((deploy / "monitoring/alerts_test.yaml").read_text())
    fires = [
        case["alertname"]
        for test in cases["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    ]

    assert sorted(set(fires)) == sorted(rule["alert"] for rule in _rules(deploy))


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "config", "prometheus.yaml"],
        ["check", "rules", "alerts.yaml"],
        ["test", "rules", "alerts_test.yaml"],
    ],
    ids=" ".join,
)
def test_prometheus_own_tool_finds_nothing(deploy, arguments):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian's package prometheus has it)")

    result = subprocess.run(
        [promtool, *arguments], cwd=deploy / "monitoring", capture_output=True, text=True
    )

    assert result.returncode == 0, result.stdout + result.stderr


def _rules(deploy) -> list[dict[str, Any]]:
    groups = yaml.safe_load((deploy / "monitoring/alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_each_panel_says_what_it_shows_and_from_the_provisioned_datasource(deploy, dashboard):
    provisioned = yaml.safe_load(
        (deploy / "monitoring/grafana/provisioning/datasources/prometheus.yaml").read_text()
    )
    uid = provisioned["datasources"][0]["uid"]

    for panel in dashboard["panels"]:
        assert panel["title"], panel["id"]
        assert panel["description"], panel["title"]
        for each in [panel, *panel["targets"]]:
            assert each["datasource"] == {"type": "prometheus", "uid": uid}, panel["title"]


def test_the_dashboard_has_the_panels_that_an_operator_asks_for(dashboard):
    asked = "\n".join(t["expr"] for p in dashboard["panels"] for t in p["targets"])

    for metric in (
        "nv_inference_request_success",
        "nv_inference_request_failure",
        "nv_inference_request_summary_us",
        "nv_inference_compute_infer_duration_us",
        "nv_inference_queue_duration_us",
        "nv_inference_pending_request_count",
        "nv_gpu_utilization",
        "nv_gpu_memory_used_bytes",
        "cxr_node_oldest_waiting_seconds",
        "cxr_node_received_to_delivered_seconds_bucket",
        "cxr_node_drift_probability",
    ):
        assert metric in asked


def test_panels_do_not_lie_over_each_other(dashboard):
    cells: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in own) < 24, panel["title"]
        assert not own & cells, panel["title"]
        cells |= own
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
