"""DeLong's test against the paper's definition on the paper's data, and against other ways."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2, norm
from sklearn.metrics import roc_auc_score

from cxrexport.evaluation.measures.delong import NO_VARIANCE, delong_difference
from cxrexport.evaluation.measures.metrics import paired_difference

# Albumin, total protein, K-G score and outcome of the patients without missing values. Source:
# DeLong, DeLong and Clarke-Pearson 1988, as printed in SAS/STAT's User's Guide, The LOGISTIC
# Procedure, example "Comparing Receiver Operating Characteristic Curves".
OVARIAN = """
3.0 5.8 10 0 3.2 6.3 5 1 3.9 6.8 3 1 2.8 4.8 6 0 3.2 5.8 3 1 0.9 4.0 5 0 2.5 5.7 8 0 1.6 5.6 5 1
3.8 5.7 5 1 3.7 6.7 6 1 3.2 5.4 4 1 3.8 6.6 6 1 4.1 6.6 5 1 3.6 5.7 5 1 4.3 7.0 4 1 3.6 6.7 4 0
2.3 4.4 6 1 4.2 7.6 4 0 4.0 6.6 6 0 3.5 5.8 6 1 3.8 6.8 7 1 3.0 4.7 8 0 4.5 7.4 5 1 3.7 7.4 5 1
3.1 6.6 6 1 4.1 8.2 6 1 4.3 7.0 5 1 4.3 6.5 4 1 3.2 5.1 5 1 2.6 4.7 6 1 3.3 6.8 6 0 1.7 4.0 7 0
3.7 6.1 5 1 3.3 6.3 7 1 4.2 7.7 6 1 3.5 6.2 5 1 2.9 5.7 9 0 2.1 4.8 7 1 2.8 6.2 8 0 4.0 7.0 7 1
3.3 5.7 6 1 3.7 6.9 5 1 3.6 6.6 5 1
"""
ALBUMIN, PROTEIN, SCORE, OUTCOME = np.array(OVARIAN.split(), float).reshape(-1, 4).T
TRUTH, SCORE = OUTCOME == 1, 10 - SCORE


def by_definition(truth, one, other) -> tuple[float, float]:
    """Difference of areas and its variance as the paper defines them, pair by pair.

    Its equations 3 to 6: a kernel over all pairs of a positive and a negative, the covariance
    matrices S10 and S01 of its means, and the contrast (1, -1).
    """
    kernels = []
    for score in (one, other):
        above = score[truth][:, None] - score[~truth][None, :]
        kernels.append(np.where(above > 0, 1.0, np.where(above == 0, 0.5, 0.0)))
    s10 = np.cov([kernel.mean(axis=1) for kernel in kernels])
    s01 = np.cov([kernel.mean(axis=0) for kernel in kernels])
    contrast = np.array([1.0, -1.0])
    covariance = s10 / truth.sum() + s01 / (~truth).sum()
    areas = np.array([kernel.mean() for kernel in kernels])
    return float(contrast @ areas), float(contrast @ covariance @ contrast)


@pytest.mark.parametrize("test", [ALBUMIN, PROTEIN])
def test_it_is_the_paper_s_own_definition_on_the_paper_s_own_patients(test) -> None:
    value, variance = by_definition(TRUTH, test, SCORE)
    found = delong_difference(TRUTH, test, [SCORE])
    z = value / np.sqrt(variance)
    reach = norm.ppf(0.975) * np.sqrt(variance)
    assert (found.value, found.low, found.high, found.p) == pytest.approx(
        (value, value - reach, value + reach, chi2.sf(z**2, 1))
    )


def made(patients: int, films: int, seed: int = 0):
    """Truth, two scores that go together, and patients of so many films each."""
    random = np.random.default_rng(seed)
    truth = np.repeat(np.arange(patients) % 3 == 0, films)
    shared = np.repeat(random.normal(size=patients), films) + 0.5 * random.normal(size=len(truth))
    a = shared + 1.2 * truth + 0.4 * random.normal(size=len(truth))
    b = shared + 0.8 * truth + 0.4 * random.normal(size=len(truth))
    return truth, a, b, np.repeat(np.arange(patients), films)


def jackknife(truth, a, b, patients) -> float:
    """Standard error of the difference, leaving each patient out in turn."""
    each = [
        roc_auc_score(truth[patients != p], a[patients != p])
        - roc_auc_score(truth[patients != p], b[patients != p])
        for p in np.unique(patients)
    ]
    return float(np.sqrt((len(each) - 1) * np.var(each)))


@pytest.mark.parametrize("films", [1, 4])
def test_its_error_is_that_of_leaving_each_patient_out(films: int) -> None:
    truth, a, b, patients = made(120, films)
    found = delong_difference(truth, a, [b], patients)
    error = (found.high - found.low) / (2 * 1.959964)
    assert found.value == pytest.approx(roc_auc_score(truth, a) - roc_auc_score(truth, b))
    assert error == pytest.approx(jackknife(truth, a, b, patients), rel=0.03)


def test_its_interval_is_close_to_the_paired_bootstrap_s() -> None:
    truth, a, b, patients = made(150, 2)
    found = delong_difference(truth, a, [b], patients)
    drawn = paired_difference(truth, a, b, groups=patients)
    assert (found.low, found.high) == pytest.approx((drawn.low, drawn.high), abs=0.012)


def test_films_of_one_patient_that_are_alike_do_not_count_again() -> None:
    truth, a, b, patients = made(90, 1)
    once = delong_difference(truth, a, [b], patients)
    twice = delong_difference(*(np.repeat(x, 2) for x in (truth, a)), [np.repeat(b, 2)],
                              np.repeat(patients, 2))  # fmt: skip
    assert (twice.value, twice.low, twice.p) == pytest.approx((once.value, once.low, once.p))


def test_against_several_scores_it_takes_the_mean_of_their_areas() -> None:
    truth, a, b, _ = made(60, 1)
    found = delong_difference(truth, a, [a, b])
    alone = delong_difference(truth, a, [b])
    assert found.value == pytest.approx(alone.value / 2)
    assert found.p == pytest.approx(alone.p)


def test_equal_scores_have_no_p() -> None:
    truth, a, _, _ = made(20, 1)
    found = delong_difference(truth, a, [a])
    assert (found.value, found.p, found.reason) == (0, None, NO_VARIANCE)


def test_one_patient_of_a_class_is_too_few() -> None:
    truth = np.array([True, False, False])
    assert delong_difference(truth, np.arange(3.0), [np.arange(3.0)]) is None
