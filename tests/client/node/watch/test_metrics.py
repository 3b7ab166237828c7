"""Prometheus is told what the rows say, after a restart as before."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cxrclient.node.options import NodeOptions
from cxrclient.node.spool import room
from cxrclient.node.spool.records import STOW, Arrival
from cxrclient.node.spool.retention import retire
from cxrclient.node.spool.spool import Spool
from cxrclient.node.watch.drift import Drift
from cxrclient.node.watch.metrics import Metrics
from finished_films import analysed


def metrics_of(spool: Spool, reference=None) -> Metrics:
    options = NodeOptions(spool.folder, spool.targets, "127.0.0.1:8001", workers=3)
    return Metrics(options, spool, Drift(spool, reference))


def value(metrics: Metrics, name: str, parts=None, **labels: str) -> float | None:
    """The value of a series; None where there is none."""
    text = metrics.text(parts or {}).decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == f"cxr_node_{name}" and sample.labels == labels:
                return sample.value
    return None


def arrival(uid: str, sender: str = "MODALITY", pixels: str = "pixels") -> Arrival:
    return Arrival(uid, "1.1", "1.1.1", "1.2", pixels, sender)


def test_films_are_counted_by_state_and_fate(spool, finish):
    finish("1.1", 0.5)
    finish("1.2", code="LATERAL")
    spool.take(arrival("1.3"), b"film")
    metrics = metrics_of(spool)

    states = ("waiting", "analysed", "done", "failed")
    assert [value(metrics, "films", state=each) for each in states] == [1, 1, 1, 0]
    assert value(metrics, "films_finished", status="ok", code="") == 1
    assert value(metrics, "films_finished", status="rejected", code="LATERAL") == 1


def test_what_came_is_counted_by_way_and_verdict_and_survives_a_restart(spool):
    spool.take(arrival("1.1"), b"film")
    spool.take(arrival("1.1", f"{STOW}10.0.0.7"), b"film")
    spool.take(arrival("1.1", pixels="others"), b"other")
    spool.note("NOT_A_FILM", sender="MODALITY")
    spool.close()

    with Spool(spool.folder, spool.targets) as again:
        metrics = metrics_of(again)
        assert value(metrics, "received_total", way="dicom", verdict="stored") == 1
        assert value(metrics, "received_total", way="stow", verdict="again") == 1
        assert value(metrics, "received_total", way="dicom", verdict="other_pixels") == 1
        assert value(metrics, "received_total", way="stow", verdict="stored") == 0
        assert value(metrics, "refused_total", code="NOT_A_FILM") == 1
        assert value(metrics, "refused_total", code="LOW_DISK") == 0
        assert value(metrics, "refused_total", code="OTHER_PIXELS") is None


def test_what_refused_nobody_is_counted_apart(spool, monkeypatch):
    spool.take(arrival("1.1"), b"film")
    free = SimpleNamespace(free=0)
    monkeypatch.setattr(room, "shutil", SimpleNamespace(disk_usage=lambda _: free))
    assert spool.claim_film(0) is None, "its results need room"
    monkeypatch.undo()
    spool.note("UPKEEP_FAILED", sender="upkeep")
    spool.note("QUEUE_FULL", sender="MODALITY")

    metrics = metrics_of(spool)
    for code in ("WORK_WAITS", "UPKEEP_FAILED"):
        assert value(metrics, "noted_total", code=code) == 1
        assert value(metrics, "refused_total", code=code) is None
    assert value(metrics, "refused_total", code="LOW_DISK") == 0
    assert value(metrics, "refused_total", code="QUEUE_FULL") == 1
    assert value(metrics, "noted_total", code="QUEUE_FULL") is None


def test_the_oldest_that_waits_is_told(spool, finish):
    metrics = metrics_of(spool)
    assert value(metrics, "oldest_waiting_seconds") == 0
    assert value(metrics, "oldest_delivery_seconds", target="PACS") == 0
    spool.take(arrival("1.0"), b"film")
    with spool.rows.change() as line:
        line.execute("UPDATE films SET received_at = received_at - 10000")
    assert value(metrics, "oldest_waiting_seconds") == pytest.approx(10_000, abs=2000)
    spool.finish(spool.claim_film(0), analysed(0.5))
    finish("1.1", 0.5)
    with spool.rows.change() as line:
        line.execute("UPDATE films SET finished_at = finished_at - 50000 WHERE uid = '1.0'")

    assert value(metrics, "oldest_waiting_seconds") == 0
    assert value(metrics, "oldest_delivery_seconds", target="PACS") == pytest.approx(
        50_000, abs=2000
    )
    spool.delivered(spool.claim_delivery("PACS", 0))
    assert value(metrics, "oldest_delivery_seconds", target="PACS") < 10_000
    assert value(metrics, "oldest_delivery_seconds", target="archive") > 40_000


def test_deliveries_are_counted_by_target_and_timed_once(spool, finish):
    metrics = metrics_of(spool)
    finish("1.1", 0.5)
    with spool.rows.change() as line:
        line.execute("UPDATE films SET received_at = ?, finished_at = ?",
                     (time.time() - 50, time.time() - 4))  # fmt: skip
    assert value(metrics, "deliveries", target="PACS", state="waiting") == 1
    spool.delivered(spool.claim_delivery("PACS", 0))

    assert value(metrics, "deliveries", target="PACS", state="delivered") == 1
    for _ in range(2):
        count = value(metrics, "received_to_delivered_seconds_count", target="PACS")
        assert count == 1
    within = "received_to_delivered_seconds_bucket"
    assert value(metrics, within, target="PACS", le="30.0") == 0
    assert value(metrics, within, target="PACS", le="900.0") == 1
    finished = "finished_to_delivered_seconds_sum"
    assert value(metrics, finished, target="PACS") == pytest.approx(4, abs=30)
    assert value(metrics, finished, target="archive") == 0


def test_what_was_refused_and_has_no_files_any_more_is_counted_apart(spool, finish):
    metrics = metrics_of(spool)
    for uid in ("1.1", "1.2"):
        finish(uid, 0.5)
    for each in (spool.claim_delivery("PACS", 0), spool.claim_delivery("PACS", 0)):
        spool.refuse(each, "PEER_REFUSED_OBJECT", "It takes no SR.")
    spool.delivered(spool.claim_delivery("archive", 0))

    assert retire(spool, -1) == 1

    states = {
        each: value(metrics, "deliveries", target="PACS", state=each)
        for each in ("refused", "removed")
    }
    assert states == {"refused": 1, "removed": 1}
    assert value(metrics, "films", state="analysed") == 1
    assert value(metrics, "films", state="removed") == 1


def test_the_machine_and_each_part_are_told(spool):
    metrics = metrics_of(spool)
    parts = {"triton": (False, "away"), "peer PACS": (True, "there")}

    assert value(metrics, "workers") == 3
    assert value(metrics, "disk_free_bytes") > value(metrics, "disk_least_bytes")
    assert value(metrics, "up", parts, part="triton") == 0
    assert value(metrics, "up", parts, part="peer PACS") == 1


def test_drift_of_today_is_told_beside_the_weeks_before_and_the_training_films(
    spool, finish, reference
):
    finish("1.1", 0.2, days_ago=2, distance=0.1)
    finish("1.2", 0.8, distance=0.4)
    metrics = metrics_of(spool, reference(np.eye(3, 128)))

    for period, probability, distance in (("before", 0.2, 0.1), ("today", 0.8, 0.4)):
        about = {"period": period, "quantile": "0.5"}
        assert value(metrics, "drift_probability", **about) == pytest.approx(probability)
        assert value(metrics, "drift_distance", **about) == pytest.approx(distance)
        assert value(metrics, "drift_films", period=period) == 1
    assert value(metrics, "drift_share_positive", period="today") == 1
    assert value(metrics, "reference_distance", quantile="0.9") == pytest.approx(2**0.5)
    assert value(metrics, "reference_fits") == 1
