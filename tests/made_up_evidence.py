"""Evidence of made-up films for the audit, of one trial or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import logit

from cxrexport.evaluation.audit.baselines import Baseline
from cxrexport.evaluation.audit.judged import audit
from cxrexport.evaluation.audit.tables import Audit
from cxrexport.evaluation.scores import Evidence, Scores, Trial
from cxrexport.manifest import FilmRow

LABELS = ("normal", "tb")

Films = Callable[..., list[FilmRow]]

Floats = npt.NDArray[np.float64]


def trial(
    films: Sequence[FilmRow], score: Sequence[float] | Floats, name: str = "fold 1", **more: object
) -> Trial:
    """One network whose probabilities are `score`; it learnt from nothing that is known."""
    margins = {"resnet50": logit(np.asarray(score, dtype=float))}
    return Trial(name, None, None, Scores(tuple(films), LABELS, margins, **more))  # type: ignore[arg-type]


def evidence(*trials: Trial, folds: bool = True) -> Evidence:
    return Evidence(LABELS, trials, folds)


def audited(given: Evidence, baselines: Sequence[Baseline] = (), **options: object) -> Audit:
    return audit(given, baselines, bootstrap=50, **options)  # type: ignore[arg-type]


def shortcut(make_films: Films) -> Evidence:
    """A judge that knows the source, 45 of 60 positive against 15 of 60, and nothing else."""
    films = make_films(60, share=0.75, source="north")
    films += make_films(60, start=100, share=0.25, source="south")
    return evidence(trial(films, [0.8] * 60 + [0.2] * 60))


def two_sources(
    make_films: Films, shares: tuple[float, float] = (0.5, 0.5), count: int = 60
) -> list[FilmRow]:
    films = make_films(count, share=shares[0], source="north")
    return films + make_films(count, start=1000, share=shares[1], source="south")
