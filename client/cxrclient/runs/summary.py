"""What became of a run, as one JSON file: counts, versions, digests, rates."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cxrclient.errors import CxrClientError, FilmError, UsageError
from cxrclient.files import cannot_write, write_whole
from cxrclient.wire import Prediction

if TYPE_CHECKING:
    from cxrclient.wire import EnsembleInfo, Traffic

FORMAT = 1

Outcome = Literal["complete", "interrupted", "failed"]


@dataclass
class RunSummary:
    """Counts a run's films as they end.

    Attributes:
        command: `predict` or `index`.
        arguments: what it was asked, by name.
        fates: films by status, and by the code of those without a prediction.
        kept: films among them whose result an earlier run had, by status.
        flags: what the server remarked of films with a prediction.
        labels: predictions by label.
        models: predictions by digest; more than one where the server changed its model.
    """

    command: str
    arguments: Mapping[str, Any]
    fates: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._started = datetime.now(UTC)
        self._begin_s, self._begin_cpu_s = time.perf_counter(), time.process_time()
        self._latency_sum_ms = self._latency_max_ms = 0.0
        self._timed = 0

    @property
    def films(self) -> int:
        """How many have ended, those of earlier runs included."""
        return self.fates["ok"] + self.fates["rejected"] + self.fates["failed"]

    def keep(self, fates: Mapping[str, int]) -> None:
        """Count films whose result an earlier run had: their statuses and codes."""
        self.fates.update(fates)
        self.kept.update({s: n for s, n in fates.items() if s in ("ok", "rejected", "failed")})

    def add(self, result: Prediction | FilmError) -> None:
        """Count one film of this run."""
        if isinstance(result, FilmError):
            self.fates.update((result.status, result.code))
            return
        self.fates["ok"] += 1
        self.models[result.model.digest] += 1
        self.see(result)

    def see(self, prediction: Prediction) -> None:
        """Take what a prediction says; its film's fate is counted elsewhere."""
        self.flags.update(prediction.flags)
        self.labels[prediction.label] += 1
        self._timed += 1
        self._latency_sum_ms += prediction.latency_ms
        self._latency_max_ms = max(self._latency_max_ms, prediction.latency_ms)

    def record(
        self,
        outcome: Outcome,
        *,
        model: EnsembleInfo,
        traffic: Traffic,
        server_version: str | None,
        more: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The summary as plain JSON values, as of now."""
        wall_s = time.perf_counter() - self._begin_s
        timed = self._timed
        statuses = ("ok", "rejected", "failed")
        return {
            "format": FORMAT,
            "command": self.command,
            "arguments": dict(self.arguments),
            "outcome": outcome,
            "started": self._started.isoformat(timespec="seconds"),
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "wall_s": round(wall_s, 3),
            "cpu_s": round(time.process_time() - self._begin_cpu_s, 3),
            "films": {"total": self.films, **{status: self.fates[status] for status in statuses}},
            "kept_from_earlier_runs": {status: self.kept[status] for status in statuses},
            "codes": {code: n for code, n in sorted(self.fates.items()) if code not in statuses},
            "flags": dict(sorted(self.flags.items())),
            "labels": dict(sorted(self.labels.items())),
            "model": {
                "name": model.name,
                "digest": model.digest,
                "preprocessing_digest": model.preprocessing_digest,
                "threshold": model.threshold,
            },
            "predictions_by_model_digest": dict(self.models),
            "films_per_s": round((self.films - self.kept.total()) / wall_s, 3),
            "latency_ms": {
                "mean": round(self._latency_sum_ms / timed, 1) if timed else None,
                "max": round(self._latency_max_ms, 1) if timed else None,
            },
            "sent": {
                "films": traffic.films_sent,
                "bytes": traffic.bytes_sent,
                "retries": traffic.retries,
            },
            "versions": {
                "cxr-triton": _own_version(),
                "triton": server_version,
                "python": platform.python_version(),
            },
            **more,
        }


def write_summary(path: Path, record: Mapping[str, Any]) -> None:
    """Write a summary: the whole of it, or the file stays as it was.

    It names films, so a new one can be read by its owner alone.

    Raises:
        CxrClientError: it cannot be written.
    """
    try:
        write_whole(path, json.dumps(record, indent=1) + "\n", secret=True)
    except OSError as error:
        raise CxrClientError(cannot_write(path, error)) from error


def require_writable(path: Path | None) -> None:
    """Say before a run of hours, not after it, that its summary has nowhere to go.

    Raises:
        UsageError: no file can be written there.
    """
    if path and (path.is_dir() or not os.access(path.absolute().parent, os.W_OK)):
        raise UsageError(f"Cannot write {path}: no file can be made there.")


def _own_version() -> str | None:
    try:
        return importlib.metadata.version("cxr-triton")
    except importlib.metadata.PackageNotFoundError:
        return None
