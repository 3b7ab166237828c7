"""Whether the films of a day are like those before, and like the training films.

A day is one by the node's clock, on which films were finished. Distances are Euclidean, as the
archive measures them (`cxrclient.Neighbour`).
"""

from __future__ import annotations

import json
import logging
import threading
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrclient.errors import NodeError, UsageError
from cxrclient.node.notes import NOTES
from cxrclient.node.spool.spool import Spool
from cxrclient.runs import require_stored, stored_lines

_log = logging.getLogger(__name__)
DAYS = 31
BEFORE_DAYS = 28
"""Days before today that today is held against: whole weeks, since Sundays are not like Mondays."""
_YARDSTICK_FILMS, _AT_ONCE = 2000, 200
_OTHER_MODEL = "REFERENCE_OTHER_MODEL"
FloatArray = npt.NDArray[np.float32]

# Quantiles are interpolated between the two nearest ranks, as numpy does: each value is weighted by
# how near its rank is to the quantile's. All columns are in one index (`films_by_day`).
_SQL = """
WITH found AS (
    SELECT CASE WHEN ?1 THEN date(finished_at, 'unixepoch', 'localtime') ELSE '' END AS day,
        status, code, probability, positive, model,
        CASE WHEN model = ?2 THEN distance END AS distance
    FROM films WHERE finished_at >= ?3 AND finished_at < ?4),
numbers AS (
    SELECT day, 'probability' AS what, probability AS value FROM found
    UNION ALL SELECT day, 'distance', distance FROM found),
ranked AS (
    SELECT day, what, value,
        ROW_NUMBER() OVER (PARTITION BY day, what ORDER BY value) - 1 AS place,
        COUNT(*) OVER (PARTITION BY day, what) - 1 AS last
    FROM numbers WHERE value IS NOT NULL),
spread AS (
    SELECT day, what, json_object('films', COUNT(*), 'mean', AVG(value),
        'q25', SUM(value * MAX(0, 1 - ABS(place - last * 0.25))),
        'median', SUM(value * MAX(0, 1 - ABS(place - last * 0.5))),
        'q75', SUM(value * MAX(0, 1 - ABS(place - last * 0.75)))) AS told
    FROM ranked GROUP BY day, what),
turned_away AS (
    SELECT day, json_group_object(code, n) AS told FROM (
        SELECT day, COALESCE(code, '') AS code, COUNT(*) AS n
        FROM found WHERE status = 'rejected' GROUP BY 1, 2)
    GROUP BY day)
SELECT day, COUNT(*) AS films, SUM(status = 'failed') AS failed, AVG(positive) AS share_positive,
    json_group_array(DISTINCT model) FILTER (WHERE model IS NOT NULL) AS models,
    (SELECT told FROM turned_away WHERE turned_away.day = found.day) AS turned_away,
    (SELECT told FROM spread WHERE spread.day = found.day AND what = 'probability') AS probability,
    (SELECT told FROM spread WHERE spread.day = found.day AND what = 'distance') AS distance
FROM found GROUP BY day ORDER BY day
"""


class Drift:
    """Measures the films of a spool.

    Args:
        spool: whose films.
        reference: results of `cxrclient predict --embeddings -o FILE.jsonl` over the training
            films; without them, no distance is measured.

    Raises:
        UsageError: the reference cannot be read, has no embeddings, or is of several models.
    """

    def __init__(self, spool: Spool, reference: Path | None = None) -> None:
        self._view = spool.view
        self._reference = None if reference is None else Reference(reference)
        self._warned = False
        self._before: tuple[date, dict[str, Any] | None] | None = None

    def by_day(self, days: int = DAYS) -> list[dict[str, Any]]:
        """Give the last days on which films were finished, the oldest first.

        Args:
            days: up to today, today included.

        Returns:
            Each `day` (YYYY-MM-DD) with the number of its `films`; how many `failed`; how many the
            gate has `turned_away`, by code; `probability` and `distance` (to the nearest training
            film) with `films`, `mean`, `q25`, `median`, `q75`, or None; `share_positive` of the
            films with an operating point; digests of the `models`.
        """
        today = datetime.now().astimezone().date()
        return self._told(today - timedelta(days=days - 1), today, by_day=True)

    def today(self) -> dict[str, Any] | None:
        """Give today as `by_day` does; None while no film was finished."""
        return next(iter(self.by_day(1)), None)

    def before(self) -> dict[str, Any] | None:
        """Give the four weeks before today as if they were one day; None where no film was."""
        today = datetime.now().astimezone().date()
        if self._before is None or self._before[0] != today:
            weeks = self._told(
                today - timedelta(days=BEFORE_DAYS), today - timedelta(days=1), by_day=False
            )
            self._before = today, next(iter(weeks), None)
        return self._before[1]

    def distance(self, embedding: npt.ArrayLike, model: str | None = None) -> float | None:
        """Measure how far a film is from the nearest training film.

        Args:
            embedding: of the film, 128 numbers.
            model: digest of the model that made it, where it is known.

        Returns:
            None without a reference, or where it is another model's.
        """
        if self._reference is None:
            return None
        vector = np.asarray(embedding, np.float32)
        same = model is None or model == self._reference.model
        if not same or vector.shape != self._reference.films.shape[1:]:
            self._warn()
            return None
        return float(self._reference.distances(vector[None])[0])

    def require_model(self, digest: str) -> None:
        """Refuse a reference of another model than the one that is served.

        Raises:
            NodeError: it is another's.
        """
        if self._reference is not None and self._reference.model != digest:
            raise NodeError(" ".join(NOTES[_OTHER_MODEL]))

    def about_reference(self) -> dict[str, Any] | None:
        """Tell of the training films what films of a day are held against; None without them.

        Returns:
            Number of `films`; `model` (its digest); `probability` as of a day; `distance` of each
            to the nearest of the others: `median` and `q90`; and `code`, `message` and `do` where
            the films of the node are another model's.
        """
        if self._reference is None:
            return None
        told = {"model": self._reference.model, **self._reference.yardstick()}
        newest = self._view.one(
            "SELECT model FROM films WHERE model IS NOT NULL ORDER BY finished_at DESC LIMIT 1"
        )
        if newest is not None and newest["model"] != self._reference.model:
            self._warn()
            message, mend = NOTES[_OTHER_MODEL]
            told |= {"code": _OTHER_MODEL, "message": message, "do": mend}
        return told

    def _told(self, first: date, last: date, *, by_day: bool) -> list[dict[str, Any]]:
        model = None if self._reference is None else self._reference.model
        until = _begins(last + timedelta(days=1))
        found = self._view.all(_SQL, by_day, model, _begins(first), until)
        days = []
        for row in found:
            told = dict(row)
            for name in ("models", "turned_away", "probability", "distance"):
                told[name] = None if told[name] is None else json.loads(told[name])
            days.append({**told, "turned_away": told["turned_away"] or {}})
        return days

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            _log.warning("%s: %s %s", _OTHER_MODEL, *NOTES[_OTHER_MODEL])


class Reference:
    """Training films that have a prediction.

    Args:
        path: results of `cxrclient predict --embeddings -o FILE.jsonl`.

    Raises:
        UsageError: as of Drift.
    """

    def __init__(self, path: Path) -> None:
        models, probabilities, embeddings = set(), [], []
        try:
            for line in stored_lines(path):
                if line["status"] == "ok":
                    models.add(line["model"]["digest"])
                    probabilities.append(line["probability"])
                    embeddings.append(np.array(line.get("embedding") or (), "f4"))
            if len(models) != 1 or not all(map(len, embeddings)):
                require_stored(path, maps=False)  # says what is wrong
            self.model: str = models.pop()
            self.films: FloatArray = np.stack(embeddings)
            self._probabilities = np.array(probabilities, "f8")
            if self.films.ndim != 2 or not np.isfinite(self.films).all():
                raise ValueError
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"{path} has an embedding that is none. Predict the training films again."
            ) from error
        self._squares: FloatArray = np.einsum("ij,ij->i", self.films, self.films)
        self._lock = threading.Lock()
        self._yardstick: dict[str, Any] = {}

    def distances(self, films: FloatArray, own: npt.NDArray[np.intp] | None = None) -> FloatArray:
        """Give how far films are from the nearest training film each.

        Args:
            films: embeddings, float32 [N, 128].
            own: which training films they are themselves, [N]; None where they are others.

        Returns:
            float32 [N].
        """
        squared = self._squares - 2 * films @ self.films.T  # and a term of the film's own
        if own is not None:
            squared[np.arange(len(films)), own] = np.inf
        distances: FloatArray = np.linalg.norm(films - self.films[squared.argmin(axis=1)], axis=1)
        return distances

    def yardstick(self) -> dict[str, Any]:
        """Tell how far training films are from each other, and of their probabilities.

        At most 2,000 of them, evenly spread, are measured: each against all the others.
        """
        with self._lock:
            if not self._yardstick:
                self._yardstick = self._measured()
            return dict(self._yardstick)

    def _measured(self) -> dict[str, Any]:
        count = len(self.films)
        some = np.unique(np.linspace(0, count - 1, _YARDSTICK_FILMS).astype(np.intp))
        parts = [some[start : start + _AT_ONCE] for start in range(0, len(some), _AT_ONCE)]
        q25, median, q75 = np.quantile(self._probabilities, (0.25, 0.5, 0.75)).tolist()
        mean = float(self._probabilities.mean())
        spread = {"films": count, "mean": mean, "q25": q25, "median": median, "q75": q75}
        distance = None
        if count > 1:
            apart = np.concatenate([self.distances(self.films[part], part) for part in parts])
            half, most = np.quantile(apart, (0.5, 0.9)).tolist()
            distance = {"films": len(apart), "median": half, "q90": most}
        return {"films": count, "probability": spread, "distance": distance}


def _begins(day: date) -> float:
    """When a day begins by this machine's clock, in seconds of Unix time."""
    return datetime(day.year, day.month, day.day).astimezone().timestamp()
