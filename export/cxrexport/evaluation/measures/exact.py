"""Exact intervals of proportions: 0 of 7 is no proof that it never happens.

A bootstrap of 7 films that are all right gives 100 % to 100 %. Clopper and Pearson ask instead
which proportions could have given what was seen (`scipy.stats.binomtest`). Films of one patient
are alike, so that they count for less: Korn and Graubard put the number of independent films that
would be as uncertain in the place of the number of films.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cxrexport.evaluation.scores import Flags

LEVEL = 0.95
"""Confidence of every interval of the evaluation."""


def proportion_interval(
    hits: Flags, groups: npt.NDArray[np.generic] | None = None
) -> tuple[float, float]:
    """The 95 % interval of the share of hits.

    Source: Clopper and Pearson, Biometrika 1934;26:404; for groups Korn and Graubard, Survey
    Methodology 1998;24:193, with its degrees of freedom (in R: `survey::svyciprop`, method beta).

    Args:
        hits: which of the films that count are hits, [N], N of at least 1.
        groups: each film's patient, [N]; None where films are independent. Where each patient has
            one film it is the same.

    Returns:
        Lower and upper end, in 0..1. Of no hits or only hits of several groups, as many films
        count as there are groups.
    """
    films = len(hits)
    share, alone = float(hits.mean()), float(films)
    if groups is not None:
        patient = np.unique(groups, return_inverse=True)[1]
        alone = _independent(hits, patient, share)
    from scipy.stats import beta

    tail = (1 - LEVEL) / 2
    found, others = share * alone, (1 - share) * alone
    low = beta.ppf(tail, found, others + 1) if found else 0.0
    high = beta.ppf(1 - tail, found + 1, others) if others else 1.0
    return float(low), float(high)


def _independent(hits: Flags, patient: npt.NDArray[np.int_], share: float) -> float:
    """How many independent films would leave the share as uncertain as these do."""
    films, patients = len(hits), int(patient.max()) + 1
    if patients == films:
        return float(films)
    if share in (0.0, 1.0) or patients == 1:
        return float(patients)
    from scipy.stats import t

    residual = np.bincount(patient, hits - share)
    variance = patients / (patients - 1) * float((residual**2).sum()) / films**2
    tail = (1 - LEVEL) / 2
    freedom = t.ppf(tail, films - 1) / t.ppf(tail, patients - 1)
    alone = share * (1 - share) / variance * freedom**2 if variance else float(films)
    return float(min(alone, films))  # likeness within patients never adds films
