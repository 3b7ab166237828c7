"""Figures, their intervals, votes and paired differences."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from cxrexport.evaluation.measures.intervals import interval, over_trials, resamples
from cxrexport.evaluation.measures.metrics import (
    bootstrapped,
    figures,
    majority_vote,
    paired_difference,
)
from cxrexport.evaluation.measures.weighted import METRICS, measure

# By hand: ten films, threshold 0.5.
#   positive: 0.9 0.8 0.6 0.4    → 3 of 4 called positive
#   negative: 0.7 0.5 0.3 0.3 0.2 0.1 → 0.7 called positive (0.5 is not above 0.5): 5 of 6 right
# Pairs in order: 0.9 and 0.8 above all 6, 0.6 above 5, 0.4 above 4: 21 of 24.
# Average precision: 1/4 · (1/1 + 2/2 + 3/4 + 4/6).
TRUTH = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], dtype=bool)
SCORE = np.array([0.9, 0.8, 0.6, 0.4, 0.7, 0.5, 0.3, 0.3, 0.2, 0.1])


def test_the_figures_are_those_counted_by_hand() -> None:
    found = figures(TRUTH, SCORE)
    assert (found.n, found.positives, found.threshold) == (10, 4, 0.5)
    assert asdict(found.counts) == {
        "true_positive": 3,
        "false_negative": 1,
        "true_negative": 5,
        "false_positive": 1,
    }
    by_hand = {
        "accuracy": 8 / 10,
        "sensitivity": 3 / 4,
        "specificity": 5 / 6,
        "ppv": 3 / 4,
        "npv": 5 / 6,
        "roc_auc": 21 / 24,
        "pr_auc": (1 + 1 + 3 / 4 + 4 / 6) / 4,
    }
    assert {m: getattr(found, m).value for m in METRICS} == pytest.approx(by_hand, abs=1e-15)


def test_equal_scores_count_half_a_pair() -> None:
    found = figures(np.array([True, False, False]), np.array([0.5, 0.5, 0.1]))
    assert found.roc_auc.value == pytest.approx(1.5 / 2)
    assert found.pr_auc.value == pytest.approx(1 / 2)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(4, 60), st.sampled_from([1, 5, 1000]))
def test_every_resample_has_the_metrics_that_scikit_learn_gives_it(
    seed: int, n: int, levels: int
) -> None:
    random = np.random.default_rng(seed)
    truth = np.arange(n) < max(1, n // 3)
    score = np.round(random.random(n) * levels) / levels  # few levels: many ties
    weights = resamples(truth, bootstrap=3, seed=seed)
    found = measure(truth, score, score > 0.5, weights)
    for b, weight in enumerate(weights):
        drawn = np.repeat(np.arange(n), weight.astype(int))
        y, s = truth[drawn], score[drawn]
        called = s > 0.5
        theirs = {
            "accuracy": accuracy_score(y, called),
            "sensitivity": recall_score(y, called),
            "specificity": 2 * balanced_accuracy_score(y, called) - recall_score(y, called),
            "ppv": precision_score(y, called, zero_division=np.nan),
            "npv": precision_score(~y, ~called, zero_division=np.nan),
            "roc_auc": roc_auc_score(y, s),
            "pr_auc": average_precision_score(y, s),
        }
        ours = {metric: values[b] for metric, values in found.items()}
        assert ours == pytest.approx(theirs, abs=1e-12, nan_ok=True)


def test_the_interval_is_the_percentiles_of_the_samples_it_is_given_with() -> None:
    found = bootstrapped(TRUTH, SCORE, bootstrap=200, seed=3)
    samples = found.samples["roc_auc"]
    assert samples.shape == (200,)
    low, high = np.quantile(samples, [0.025, 0.975])
    assert (found.figures.roc_auc.low, found.figures.roc_auc.high) == (low, high)


def test_the_accuracy_interval_covers_as_the_binomial_says() -> None:
    truth = np.arange(400) % 2 == 0
    score = np.where(np.arange(400) % 10 < 2, ~truth, truth).astype(float)  # 80 % right
    found = figures(truth, score, bootstrap=4000, seed=1).accuracy
    error = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert found.low == pytest.approx(0.8 - error, abs=0.006)
    assert found.high == pytest.approx(0.8 + error, abs=0.006)


def test_a_resample_without_a_class_is_drawn_again() -> None:
    truth = np.arange(30) == 0  # one resample in e has no positive film
    weights = resamples(truth, bootstrap=300, seed=0)
    assert weights.shape == (300, 30)
    assert (weights.sum(axis=1) == 30).all()
    assert weights[:, 0].min() >= 1


def test_patients_are_drawn_whole() -> None:
    patients = np.array(["b", "a", "b", "a", "c"])
    weights = resamples(np.array([1, 0, 1, 0, 1], bool), bootstrap=50, groups=patients)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 1] == weights[:, 3]).all()
    assert (weights[:, [0, 1, 4]].sum(axis=1) == 3).all()


def test_films_of_one_patient_widen_the_interval_when_patients_are_drawn() -> None:
    random = np.random.default_rng(0)
    truth = np.repeat(np.arange(60) % 2 == 0, 5)
    score = np.repeat(random.normal(size=60), 5) + truth
    patients = np.repeat(np.arange(60).astype(str), 5)

    def width(groups: np.ndarray | None) -> float:
        found = figures(truth, score, bootstrap=500, seed=1, groups=groups)
        return found.roc_auc.high - found.roc_auc.low

    # Five copies of each film carry no more than one: √5 = 2.2 times as wide.
    assert width(patients) / width(None) == pytest.approx(np.sqrt(5), rel=0.2)


@pytest.mark.parametrize(
    ("truth", "metric", "reason"),
    [
        ([1, 1], "specificity", "no negative films"),
        ([1, 1], "roc_auc", "needs films of both classes"),
        ([1, 1], "pr_auc", "needs films of both classes"),
        ([0, 0], "sensitivity", "no positive films"),
        ([0, 0], "npv", "needs films of both classes, and one called negative"),
        ([0, 0], "specificity", None),
    ],
)
def test_what_one_class_alone_does_not_define_is_none_with_the_reason(
    truth: list[int], metric: str, reason: str | None
) -> None:
    found = getattr(figures(np.array(truth, bool), np.array([0.1, 0.2])), metric)
    assert (found.value is None) == (reason is not None)
    assert found.reason == reason


def test_no_film_called_positive_leaves_no_positive_predictive_value() -> None:
    found = figures(TRUTH, SCORE, threshold=0.95)
    assert found.ppv.value is None
    assert "one called positive" in found.ppv.reason
    assert found.sensitivity.value == 0


def test_an_interval_says_how_many_resamples_it_lacks() -> None:
    found = interval(0.5, np.array([0.4, np.nan, 0.6, np.nan]))
    assert (found.value, found.low, found.high) == (0.5, pytest.approx(0.405), pytest.approx(0.595))
    assert found.reason == "interval without 2 of 4 resamples: undefined there"


def test_over_trials_is_the_mean_with_all_resamples_of_all_trials() -> None:
    a, b = np.linspace(0.6, 0.7, 100), np.linspace(0.8, 0.9, 100)
    found = over_trials([0.65, 0.85], [a, b])
    assert found.value == pytest.approx(0.75)
    assert (found.low, found.high) == tuple(np.percentile([*a, *b], [2.5, 97.5]))


def test_a_trial_without_a_value_is_left_out_and_named() -> None:
    found = over_trials([0.6, np.nan], [np.array([0.5, 0.7]), np.array([np.nan])])
    assert found.value == 0.6
    assert found.reason == "over 1 of 2 trials: undefined in the others"


@pytest.mark.parametrize(
    ("members", "vote"),
    [
        ([0.6, 0.6, 0.6, 0.0, 0.0], True),  # three of five, though the mean is 0.36
        ([0.4, 0.4, 0.4, 1.0, 1.0], False),  # two of five, though the mean is 0.64
        ([0.9, 0.6, 0.4, 0.4], True),  # a tie: the mean is 0.575
        ([0.6, 0.6, 0.1, 0.1], False),  # a tie: the mean is 0.35
        ([0.5, 0.5, 0.6], False),  # 0.5 is no vote
    ],
)
def test_the_vote_is_the_majority_and_a_tie_falls_to_the_mean(
    members: list[float], vote: bool
) -> None:
    assert majority_vote(np.array(members)[:, None]).tolist() == [vote]


def test_the_same_score_twice_differs_by_nothing() -> None:
    found = paired_difference(TRUTH, SCORE, SCORE)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_a_paired_difference_is_narrower_than_two_separate_intervals() -> None:
    random = np.random.default_rng(1)
    truth = np.arange(300) % 2 == 0
    noise = random.normal(size=300)
    a, b = noise + 1.5 * truth, noise + 1.0 * truth + 0.1 * random.normal(size=300)
    both = paired_difference(truth, a, b, bootstrap=300)
    apart = figures(truth, b, bootstrap=300).roc_auc
    expected = roc_auc_score(truth, a) - roc_auc_score(truth, b)
    assert both.value == pytest.approx(expected)
    assert both.low > 0
    assert both.high - both.low < (apart.high - apart.low) / 1.5


def test_several_networks_are_compared_by_the_mean_of_their_metrics() -> None:
    truth = np.array([1, 1, 0, 0], bool)
    right, wrong = np.array([4.0, 3.0, 2.0, 1.0]), np.array([1.0, 2.0, 3.0, 4.0])
    found = paired_difference(truth, right, np.stack([right, wrong]))
    assert found.value == pytest.approx(1 - (1 + 0) / 2)


def test_a_score_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        figures(TRUTH, np.where(SCORE == 0.9, np.nan, SCORE))


def test_the_same_seed_gives_the_same_figures_and_another_seed_others() -> None:
    assert figures(TRUTH, SCORE, seed=1) == figures(TRUTH, SCORE, seed=1)
    assert figures(TRUTH, SCORE, seed=1) != figures(TRUTH, SCORE, seed=2)
