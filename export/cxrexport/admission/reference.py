"""What one repository's networks say of chest films: thresholds and centres, no film and no name.

`cxrexport admission` fits it; `reference.json` beside the served step holds it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from cxrexport.admission.chest import Chest

Floats = npt.NDArray[np.float32]

FALSE_ALARM_RATE = 0.005
"""Share of chest films that each of the two fitted thresholds may turn away."""
CENTRES = 32
_CLEAR = 0.1
"""Nine in ten chest films are beyond doubt: they overrule what a person typed in the header."""
_FOLDS = 5
_VERSION = 1


@dataclass(frozen=True, eq=False)
class Reference:
    """What the gate compares a film with.

    Attributes:
        chest_threshold: a `Chest.score` below it is no chest film.
        chest_clear: one above it is, beyond doubt.
        centres: float32 [n, embedding_size], means of groups of similar embeddings.
        farthest: an embedding farther than this from the nearest centre is unlike all of them.
        false_alarm_rate: the share of chest films that each threshold was set to turn away.
        model_digest: of the graphs that saw the films.
        films: how many they were.
        patients: of them.
        sources: source → films.
    """

    chest_threshold: float
    chest_clear: float
    centres: Floats
    farthest: float
    false_alarm_rate: float
    model_digest: str
    films: int
    patients: int
    sources: Mapping[str, int]

    def distance(self, embedding: Floats) -> float:
        """Give the Euclidean distance of an embedding [n] to the nearest centre."""
        return float(_distances(embedding[None], self.centres)[0])

    def to_json(self) -> bytes:
        """Give the file; the same reference gives the same bytes."""
        told = {
            "version": _VERSION,
            "chest_threshold": round(self.chest_threshold, 4),
            "chest_clear": round(self.chest_clear, 4),
            "farthest": round(self.farthest, 4),
            "false_alarm_rate": self.false_alarm_rate,
            "model_digest": self.model_digest,
            "films": self.films,
            "patients": self.patients,
            "sources": dict(sorted(self.sources.items())),
            "centres": [[round(float(value), 4) for value in row] for row in self.centres],
        }
        lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in told.items()]
        return ("{\n" + ",\n".join(lines) + "\n}\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> Reference:
        """Read what `to_json` wrote.

        Raises:
            ValueError: it is not that, or of another version.
        """
        try:
            told: dict[str, Any] = json.loads(content)
            if told.pop("version") != _VERSION:
                raise ValueError(f"not of version {_VERSION}")
            centres = np.array(told.pop("centres"), dtype=np.float32)
            if centres.ndim != 2 or not np.isfinite(centres).all():
                raise ValueError("centres are no rows of numbers")
            return cls(centres=centres, **told)
        except (AttributeError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"no admission reference ({error})") from error


def fit_reference(
    chests: Sequence[Chest],
    embeddings: Floats,
    patients: Sequence[str],
    sources: Mapping[str, int],
    model_digest: str,
    false_alarm_rate: float = FALSE_ALARM_RATE,
) -> Reference:
    """Set the thresholds that `false_alarm_rate` of these films are beyond.

    Distances are taken from centres that other patients' films gave (five folds), so that the
    threshold is fit for films that were not there.

    Args:
        chests: what the pixels say, a film each.
        embeddings: float32 [films, embedding_size].
        patients: of each film.
        sources: source → films.
        model_digest: of the graphs.
        false_alarm_rate: 0..0.2.

    Raises:
        ValueError: fewer than 100 films, of which no rare share can be told, or a bad rate.
    """
    if len(chests) < 100 or len({*patients}) < _FOLDS:
        raise ValueError(f"{len(chests)} films are too few; at least 100 are needed")
    if not 0 < false_alarm_rate <= 0.2:
        raise ValueError(f"a false-alarm rate lies between 0 and 0.2, not at {false_alarm_rate}")
    embeddings = np.asarray(embeddings, dtype=np.float32)
    folds = {name: number % _FOLDS for number, name in enumerate(sorted({*patients}))}
    fold = np.array([folds[name] for name in patients])
    apart = np.empty(len(fold))
    for left_out in range(_FOLDS):
        out = fold == left_out
        apart[out] = _distances(embeddings[out], _centres(embeddings[~out]))
    scores = np.array([chest.score for chest in chests])
    return Reference(
        chest_threshold=float(np.quantile(scores, false_alarm_rate)),
        chest_clear=float(np.quantile(scores, _CLEAR)),
        centres=_centres(embeddings),
        farthest=float(np.quantile(apart, 1 - false_alarm_rate)),
        false_alarm_rate=false_alarm_rate,
        model_digest=model_digest,
        films=len(chests),
        patients=len({*patients}),
        sources=dict(sources),
    )


def _centres(embeddings: Floats) -> Floats:
    """Group similar embeddings by k-means, and give each group's mean."""
    cv2.setRNGSeed(0)
    ends = (cv2.TERM_CRITERIA_MAX_ITER + cv2.TERM_CRITERIA_EPS, 100, 1e-4)
    _, _, centres = cv2.kmeans(embeddings, CENTRES, None, ends, 5, cv2.KMEANS_PP_CENTERS)
    return np.asarray(centres, dtype=np.float32)


def _distances(embeddings: Floats, centres: Floats) -> npt.NDArray[np.float64]:
    apart = embeddings[:, None].astype(np.float64) - centres[None]
    return np.asarray(np.sqrt((apart**2).sum(axis=2)).min(axis=1))
