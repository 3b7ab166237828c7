"""Exact intervals of proportions, alone and where films of one patient are alike."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from cxrexport.evaluation.measures.exact import proportion_interval
from cxrexport.evaluation.measures.metrics import figures


def hits(part: int, whole: int) -> np.ndarray:
    return np.arange(whole) < part


@pytest.mark.parametrize(("part", "whole"), [(0, 7), (1, 7), (7, 7), (12, 14), (305, 350)])
def test_without_groups_it_is_clopper_and_pearson_s_as_scipy_has_it(part: int, whole: int) -> None:
    theirs = binomtest(part, whole).proportion_ci(method="exact")
    assert proportion_interval(hits(part, whole)) == pytest.approx(theirs, abs=1e-12)
    one_each = np.arange(whole).astype(str)
    assert proportion_interval(hits(part, whole), one_each) == pytest.approx(theirs, abs=1e-12)


def test_none_of_seven_is_no_proof_that_it_never_happens() -> None:
    # By hand: the largest share with which none of 7 has a chance of 2.5 %.
    low, high = proportion_interval(hits(0, 7))
    assert low == 0
    assert high == pytest.approx(1 - 0.025 ** (1 / 7))


def test_copies_of_a_film_count_as_one_film() -> None:
    random = np.random.default_rng(0)
    alone = random.random(40) < 0.7
    copied, patients = np.repeat(alone, 5), np.repeat(np.arange(40), 5)
    once = proportion_interval(alone, np.arange(40))
    assert proportion_interval(copied, patients) == pytest.approx(once, abs=0.02)
    assert proportion_interval(copied)[0] > once[0] + 0.05


def test_all_right_of_few_patients_counts_the_patients() -> None:
    low, high = proportion_interval(np.ones(30, bool), np.repeat(np.arange(3), 10))
    assert high == 1
    assert low == pytest.approx(0.025 ** (1 / 3))


def test_films_of_one_patient_never_make_it_narrower() -> None:
    # Each patient has one film of either kind: less than independent films would vary.
    half = np.tile([True, False], 20)
    assert proportion_interval(half, np.repeat(np.arange(20), 2)) == proportion_interval(half)


def test_it_holds_the_truth_in_nineteen_of_twenty_samples_of_patients() -> None:
    random = np.random.default_rng(1)
    patients = np.repeat(np.arange(30), 4)
    held = alone = 0
    for _ in range(400):
        of_patient = random.beta(1.6, 0.4, size=30)  # 0.8 on average; films of one are alike
        drawn = random.random(120) < of_patient[patients]
        low, high = proportion_interval(drawn, patients)
        held += low <= 0.8 <= high
        low, high = proportion_interval(drawn)
        alone += low <= 0.8 <= high
    assert held / 400 > 0.93
    assert alone / 400 < 0.9


def test_every_proportion_of_perfect_figures_has_an_exact_interval() -> None:
    truth = hits(7, 20)
    found = figures(truth, truth.astype(float))
    for metric, films in (("accuracy", 20), ("sensitivity", 7), ("specificity", 13), ("ppv", 7)):
        ours = getattr(found, metric)
        theirs = binomtest(films, films).proportion_ci(method="exact")
        assert (ours.low, ours.high) == pytest.approx(tuple(theirs))
        assert ours.reason is None
    assert found.roc_auc.reason == "the same on every resample"
