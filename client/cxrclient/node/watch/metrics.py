"""What Prometheus is told of a node: from the spool's rows, so that it survives a restart."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from cxrclient.node.notes import REFUSE_NOTHING
from cxrclient.node.options import NodeOptions
from cxrclient.node.spool.spool import Spool
from cxrclient.node.watch.drift import Drift

_BUCKETS_S = (0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 900, 3600, 4 * 3600, 24 * 3600)
_STATES = ("waiting", "analysed", "done", "failed", "removed")
_DELIVERY_STATES = ("waiting", "delivered", "refused", "removed")
_WAYS, _VERDICTS = ("dicom", "stow"), ("stored", "again", "other_pixels")
_NO_FILM_TAKEN = ("LOW_DISK", "QUEUE_FULL", "SPOOL_FAILED", "NO_DESCRIPTORS")
_QUARTILES = {"0.25": "q25", "0.5": "median", "0.75": "q75"}
Parts = Mapping[str, tuple[bool, str]]
Family = GaugeMetricFamily | CounterMetricFamily


class Metrics(Collector):
    """The metrics of a node.

    Args:
        options: the node's.
        spool: whose rows are counted.
        drift: of its films.
    """

    def __init__(self, options: NodeOptions, spool: Spool, drift: Drift) -> None:
        self._options, self._spool, self._drift = options, spool, drift
        self._lock = threading.Lock()
        self._parts: Parts = {}
        self._registry = CollectorRegistry()
        self._seen = time.time()  # what was delivered before, a process before this one told
        self._since_received = self._histogram(
            "received_to_delivered", "From acknowledging a film to having its results at a target."
        )
        self._since_finished = self._histogram(
            "finished_to_delivered", "From having a film's results to having them at a target."
        )
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def text(self, parts: Parts) -> bytes:
        """Give the metrics as Prometheus reads them.

        Args:
            parts: name → whether it works, and a sentence.
        """
        with self._lock:
            self._parts = parts
            self._observe()
            return generate_latest(self._registry)

    def describe(self) -> Iterable[Family]:
        """Name nothing beforehand: nothing else is in the registry."""
        return []

    def collect(self) -> Iterable[Family]:
        """Give what is counted now."""
        yield from self._of_films()
        yield from self._of_deliveries()
        yield from self._of_the_machine()
        yield from self._of_drift()

    def _histogram(self, name: str, what: str) -> Histogram:
        made = Histogram(
            f"cxr_node_{name}_seconds", what, ["target"], registry=self._registry,
            buckets=_BUCKETS_S,
        )  # fmt: skip
        for target in self._spool.targets:
            made.labels(target)
        return made

    def _observe(self) -> None:
        """Add what was delivered since this was asked last."""
        for row in self._spool.view.all(
            "SELECT d.target, d.delivered_at, f.received_at, f.finished_at FROM deliveries d "
            "JOIN films f ON f.uid = d.uid WHERE d.state = 'delivered' AND d.delivered_at > ? "
            "ORDER BY d.delivered_at",
            self._seen,
        ):
            self._seen = row["delivered_at"]
            for histogram, since in (
                (self._since_received, row["received_at"]),
                (self._since_finished, row["finished_at"]),
            ):
                histogram.labels(row["target"]).observe(max(row["delivered_at"] - since, 0.0))

    def _of_films(self) -> Iterable[Family]:
        view, counts = self._spool.view, self._spool.counts()
        told = dict.fromkeys(_STATES, 0) | view.films_by_state()
        what = "Films by state; removed: given up, and their files are gone."
        yield _gauge("films", what, ("state",), told)
        fates = view.all(
            "SELECT status, COALESCE(code, '') AS code, COUNT(*) AS n FROM films "
            "WHERE status IS NOT NULL GROUP BY status, code"
        )
        yield _gauge(
            "films_finished",
            "Films that were finished, by what became of them and why.",
            ("status", "code"),
            {(row["status"], row["code"]): row["n"] for row in fates},
        )
        yield _counter(
            "received",
            "Films that were acknowledged: new ones, duplicates, and others under a known UID.",
            ("way", "verdict"),
            {
                (way, verdict): counts.get(f"received:{way}:{verdict}", 0)
                for way in _WAYS
                for verdict in _VERDICTS
            },
        )
        noted = {
            name.removeprefix("note:"): n for name, n in counts.items() if name.startswith("note:")
        }
        others = {code: noted.pop(code, 0) for code in sorted(REFUSE_NOTHING)}
        refused = dict.fromkeys(_NO_FILM_TAKEN, 0) | noted
        yield _counter("refused", "Callers and objects that were refused.", ("code",), refused)
        yield _counter("noted", "What else was noted, and refused nobody.", ("code",), others)
        oldest = view.one("SELECT MIN(received_at) AS at FROM films WHERE state = 'waiting'")
        yield _gauge(
            "oldest_waiting_seconds", "How long the oldest film waits to be analysed.", (),
            {(): _age(oldest)},
        )  # fmt: skip

    def _of_deliveries(self) -> Iterable[Family]:
        view, targets = self._spool.view, self._spool.targets
        told = {(target, state): 0 for target in targets for state in _DELIVERY_STATES}
        for target, states in view.deliveries_by_state().items():
            told |= {(target, state): n for state, n in states.items()}
        what = "Results by target and state; removed: refused, and their files are gone."
        yield _gauge("deliveries", what, ("target", "state"), told)
        # Rows are never deleted, so the one that was added first has the least rowid.
        oldest = {
            target: view.one(
                "SELECT finished_at AS at FROM films WHERE uid = (SELECT uid FROM deliveries "
                "WHERE rowid = (SELECT MIN(rowid) FROM deliveries INDEXED BY deliveries_to_do "
                "WHERE target = ? AND state = 'waiting'))",
                target,
            )
            for target in targets
        }
        yield _gauge(
            "oldest_delivery_seconds",
            "How long the oldest results wait for their target.",
            ("target",),
            {target: _age(row) for target, row in oldest.items()},
        )

    def _of_the_machine(self) -> Iterable[Family]:
        options = self._options
        free = shutil.disk_usage(self._spool.folder).free
        for name, what, value in (
            ("disk_free_bytes", "Free on the spool's disk.", free),
            ("disk_least_bytes", "Below this no film is taken.", options.min_free_bytes),
            ("queue_most_films", "With so many waiting no film is taken.", options.queue),
            ("workers", "Processes that analyse.", options.workers),
        ):
            yield _gauge(name, what, (), {(): value})
        up = {name: float(works) for name, (works, _) in self._parts.items()}
        yield _gauge("up", "Whether a part works: the spool, Triton, peers.", ("part",), up)

    def _of_drift(self) -> Iterable[Family]:
        periods = {"today": self._drift.today(), "before": self._drift.before()}
        told = {name: period for name, period in periods.items() if period is not None}
        yield _gauge(
            "drift_films", "Films that were finished: today, and in the four weeks before.",
            ("period",), {name: period["films"] for name, period in told.items()},
        )  # fmt: skip
        yield _gauge(
            "drift_share_positive", "Share of films above the operating point.", ("period",),
            {name: period["share_positive"] for name, period in told.items()},
        )  # fmt: skip
        for what in ("probability", "distance"):
            yield _gauge(
                f"drift_{what}",
                {
                    "probability": "Quartiles of the films' probabilities.",
                    "distance": "Quartiles of the films' distances to the nearest training film.",
                }[what],
                ("period", "quantile"),
                {
                    (name, quantile): period[what][key]
                    for name, period in told.items()
                    if period[what] is not None
                    for quantile, key in _QUARTILES.items()
                },
            )
        reference = self._drift.about_reference() or {}
        apart = reference.get("distance") or {}
        yield _gauge(
            "reference_distance",
            "Quantiles of the training films' distances to the nearest other one.",
            ("quantile",),
            {"0.5": apart.get("median"), "0.9": apart.get("q90")},
        )
        yield _gauge(
            "reference_fits", "Whether the training films' embeddings are the served model's.", (),
            {(): float("code" not in reference)} if reference else {},
        )  # fmt: skip


def _gauge(name: str, what: str, labels: tuple[str, ...], told: Mapping[Any, Any]) -> Family:
    return _filled(GaugeMetricFamily(f"cxr_node_{name}", what, labels=labels), told)


def _counter(name: str, what: str, labels: tuple[str, ...], told: Mapping[Any, Any]) -> Family:
    return _filled(CounterMetricFamily(f"cxr_node_{name}", what, labels=labels), told)


def _filled(family: Family, told: Mapping[Any, Any]) -> Family:
    for labels, value in told.items():
        if value is not None:
            family.add_metric((labels,) if isinstance(labels, str) else labels, value)
    return family


def _age(row: Any) -> float:
    """Seconds since a row's moment; 0 where there is none."""
    return 0.0 if row is None or row["at"] is None else max(time.time() - row["at"], 0.0)
