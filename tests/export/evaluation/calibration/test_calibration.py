"""Temperatures, reliability, operating points, and what a run stores of them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from cxrexport.errors import CheckpointError
from cxrexport.evaluation.calibration.judged import (
    Calibration,
    OperatingPoint,
    calibrate,
    fit_calibration,
    fit_temperature,
    reliability,
)
from cxrexport.evaluation.calibration.operating_points import choose_threshold
from cxrexport.evaluation.calibration.temperature import fit_together
from cxrexport.evaluation.scores import Evidence, Trial

# --- temperature -----------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_spoilt_the_margins_is_found(
    make_films, make_scores, temperature: float
) -> None:
    made = make_scores(make_films(8000), networks=["vgg16"], temperature=temperature)
    found = fit_temperature(made.margins["vgg16"], made.truth)
    assert found == pytest.approx(temperature, rel=0.06)


def test_it_is_the_slope_of_a_logistic_regression_on_platts_targets(
    make_films, make_scores
) -> None:
    made = make_scores(make_films(80), networks=["vgg16"], temperature=2.5)
    margin, truth = made.margins["vgg16"], made.truth
    # A target of t is t of a positive film and 1 - t of a negative one.
    target = np.where(truth, 41 / 42, 1 / 42)
    theirs = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-12).fit(
        np.concatenate([margin, margin])[:, None],
        np.repeat([1, 0], 80),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    assert fit_temperature(margin, truth) == pytest.approx(1 / theirs.coef_[0, 0], rel=1e-4)


def test_films_without_an_error_give_no_certainty() -> None:
    truth = np.arange(20) < 10
    margin = np.where(truth, 30.0, -30.0)  # probability 1 - 1e-13 as it stands
    found = fit_temperature(margin, truth)
    assert 1 / (1 + np.exp(-30 / found)) == pytest.approx(11 / 12)  # Platt's, by hand


def test_films_without_an_error_are_flagged(make_films, make_scores) -> None:
    made = make_scores(make_films(20), networks=["vgg16"], skill=12.0)
    assert "no error on 20 validation films" in fit_calibration(made).flags["vgg16"]


@pytest.mark.parametrize(("sign", "bound"), [(-1.0, 20.0), (1e-4, 0.05)])
def test_a_network_that_no_temperature_mends_is_at_a_bound_and_flagged(
    make_films, make_scores, sign: float, bound: float
) -> None:
    made = make_scores(make_films(200), networks=["vgg16"])
    made = replace(made, margins={"vgg16": sign * made.margins["vgg16"]})
    found = fit_calibration(made)
    assert found.temperatures["vgg16"] == bound
    assert "at the bound" in found.flags["vgg16"]


def test_a_temperature_leaves_the_order_of_the_films_alone(make_films, make_scores) -> None:
    made = make_scores(make_films(100), networks=["vgg16"], temperature=4.0)
    warm = made.probability("vgg16", fit_temperature(made.margins["vgg16"], made.truth))
    assert (np.argsort(warm) == np.argsort(made.margins["vgg16"])).all()


def test_a_mean_of_members_that_err_apart_is_sharpened_until_it_is_right() -> None:
    generator = np.random.default_rng(8)
    truth = generator.random(4000) < 0.5
    # Each member's log odds are right by themselves: evidence of variance 2 about 1 or -1.
    seen_by_all = generator.normal(np.where(truth, 1, -1), 1)
    members = [seen_by_all + generator.normal(0, 1, len(truth)) for _ in range(4)]
    factor = fit_together(members, truth)
    assert factor < 0.9

    def error(temperature: float) -> float:
        mean = np.mean([1 / (1 + np.exp(-m / temperature)) for m in members], axis=0)
        return reliability(truth, mean).ece

    assert fit_temperature(members[0], truth) == pytest.approx(1, abs=0.1)
    assert error(factor) < error(1.0) / 2


def test_one_class_gives_no_temperature() -> None:
    with pytest.raises(ValueError, match="both classes"):
        fit_temperature(np.ones(5), np.ones(5, bool))


# --- reliability -----------------------------------------------------------------------------


def test_bins_brier_and_error_are_those_counted_by_hand() -> None:
    truth = np.array([0, 1, 1, 1, 0], bool)
    found = reliability(truth, np.array([0.1, 0.2, 0.7, 0.9, 1.0]), bins=2)
    assert found.edges == (0.0, 0.5, 1.0)
    assert found.counts == (2, 3)
    assert found.predicted == pytest.approx((0.15, 2.6 / 3))
    assert found.observed == pytest.approx((1 / 2, 2 / 3))
    # 2 films off by 0.35, 3 films off by 0.2
    assert found.ece == pytest.approx((2 * 0.35 + 3 * 0.2) / 5)
    assert found.brier.value == pytest.approx((0.01 + 0.64 + 0.09 + 0.01 + 1.0) / 5)


def test_an_empty_bin_has_no_value() -> None:
    found = reliability(np.array([False, True]), np.array([0.1, 0.9]), bins=3)
    assert found.predicted == (pytest.approx(0.1), None, pytest.approx(0.9))


def test_a_probability_on_an_edge_is_in_the_bin_above() -> None:
    edges = np.array([0.0, 0.1, 0.2, 0.3, 0.6, 0.7, 1.0])
    counts = reliability(np.arange(7) < 3, edges).counts
    assert counts == (1, 1, 1, 1, 0, 0, 1, 1, 0, 1)


def test_curve_and_brier_agree_with_scikit_learn(make_films, make_scores) -> None:
    made = make_scores(make_films(300), networks=["vgg16"], temperature=2.0)
    p = made.probability("vgg16")
    found = reliability(made.truth, p)
    observed, predicted = calibration_curve(made.truth, p, n_bins=10)
    assert [v for v in found.observed if v is not None] == pytest.approx(observed)
    assert [v for v in found.predicted if v is not None] == pytest.approx(predicted)
    assert found.brier.value == pytest.approx(brier_score_loss(made.truth, p))
    assert found.brier.low < found.brier.value < found.brier.high


# --- operating points ------------------------------------------------------------------------

TRUTH = np.array([1, 1, 1, 1, 0, 0, 0, 0], dtype=bool)
SCORE = np.array([0.9, 0.8, 0.6, 0.3, 0.7, 0.4, 0.2, 0.1])


@pytest.mark.parametrize(
    ("rule", "target", "threshold", "sensitivity", "specificity"),
    [
        ("sensitivity", 0.75, 0.5, 3 / 4, 3 / 4),  # between 0.4 and 0.6
        ("sensitivity", 0.95, 0.25, 4 / 4, 2 / 4),  # between 0.2 and 0.3
        ("specificity", 0.75, 0.5, 3 / 4, 3 / 4),  # between 0.4 and 0.6
        ("specificity", 0.95, 0.75, 2 / 4, 4 / 4),  # between 0.7 and 0.8
        ("youden", None, 0.25, 4 / 4, 2 / 4),  # 1.5, as 0.5 and 0.75 have: the most sensitive
    ],
)
def test_operating_points_are_those_found_by_hand(
    rule: str, target: float | None, threshold: float, sensitivity: float, specificity: float
) -> None:
    found = choose_threshold(TRUTH, SCORE, rule, target)
    assert (found.threshold, found.sensitivity, found.specificity) == pytest.approx(
        (threshold, sensitivity, specificity)
    )


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000), st.integers(2, 40), st.sampled_from([1, 3, 1000]), st.floats(0.05, 1)
)
def test_no_threshold_keeps_the_target_and_loses_less(
    seed: int, n: int, levels: int, target: float
) -> None:
    random = np.random.default_rng(seed)
    truth = np.arange(n) < max(1, n // 2)
    score = 0.01 + 0.98 * np.round(random.random(n) * levels) / levels
    found = choose_threshold(truth, score, "sensitivity", target)
    called = score > found.threshold
    assert 0 < found.threshold < 1
    assert found.sensitivity == called[truth].mean() >= target
    assert found.specificity == (~called[~truth]).mean()
    for other in [1e-3, *score]:
        if (score > other)[truth].mean() >= target:
            assert (score <= other)[~truth].mean() <= found.specificity


def test_certain_scores_still_give_a_threshold_within_0_and_1() -> None:
    found = choose_threshold(TRUTH, TRUTH.astype(float), "sensitivity", 0.95)
    assert (found.threshold, found.sensitivity, found.specificity) == (0.5, 1, 1)


def test_scores_next_to_each_other_are_still_told_apart() -> None:
    low = np.nextafter(0.5, 1)
    high = np.nextafter(low, 1)  # halfway between them rounds up, to the higher one
    found = choose_threshold(np.array([False, True]), np.array([low, high]), "specificity", 1.0)
    assert (found.sensitivity, found.specificity) == (1, 1)
    assert not low > found.threshold
    assert high > found.threshold


def test_a_target_out_of_reach_is_said() -> None:
    score = np.where(TRUTH, [0.0, 1, 1, 1, 0, 0, 0, 0], 0.0)  # a positive film at exactly 0
    found = choose_threshold(TRUTH, score, "sensitivity", 0.95)
    assert found.sensitivity == 3 / 4
    assert "no threshold" in found.reason


@pytest.mark.parametrize(("films", "said"), [(19, True), (20, False)])
def test_a_target_that_leaves_no_film_over_is_said(films: int, said: bool) -> None:
    truth = np.arange(2 * films) < films
    found = choose_threshold(truth, np.linspace(0.9, 0.1, 2 * films), "sensitivity", 0.95)
    assert (found.reason is not None) == said


# --- a study ---------------------------------------------------------------------------------


@pytest.fixture
def sharp(make_films, make_folds) -> Evidence:
    """Three folds of 200 films; margins three times as large as they should be."""
    networks = ("resnet50", "vgg16")
    return make_folds(make_films(600), networks=networks, temperature=3.0, skill=1.5)


def test_calibration_mends_overconfidence_on_films_it_was_not_fitted_on(sharp) -> None:
    found = {network.name: network for network in calibrate(sharp).networks}
    assert list(found) == [*sharp.trials[0].test.margins, "ensemble"]
    alone = found["resnet50"]
    assert alone.after.ece < alone.before.ece / 2
    assert alone.brier_change.high < 0
    assert alone.brier_change.value == pytest.approx(
        alone.after.brier.value - alone.before.brier.value
    )


def test_each_trial_has_its_own_temperature_from_its_own_validation_films(sharp) -> None:
    for trial, found in zip(sharp.trials, calibrate(sharp).trials, strict=True):
        expected = fit_temperature(trial.validation.margins["vgg16"], trial.validation.truth)
        assert found.calibration.temperatures["vgg16"] == expected


def test_the_ensemble_is_the_mean_of_its_members_each_after_its_temperature(sharp) -> None:
    found = calibrate(sharp)
    errors = []
    for trial, fitted in zip(sharp.trials, found.trials, strict=True):
        temperatures = fitted.calibration.in_ensemble
        each = [1 / (1 + np.exp(-m / temperatures[n])) for n, m in trial.test.margins.items()]
        errors += list((np.mean(each, axis=0) - trial.test.truth) ** 2)
    assert found.networks[-1].after.brier.value == pytest.approx(np.mean(errors))


def test_the_test_films_do_not_move_what_is_fitted(sharp) -> None:
    trials = tuple(replace(t, test=t.test.take(np.arange(0, len(t.test), 2))) for t in sharp.trials)
    fewer = calibrate(replace(sharp, trials=trials))
    before = [trial.calibration for trial in calibrate(sharp).trials]
    assert [trial.calibration for trial in fewer.trials] == before


def test_operating_points_are_judged_on_test_films_with_their_trials_threshold(sharp) -> None:
    found = calibrate(sharp)
    right = total = 0
    for trial, fitted in zip(sharp.trials, found.trials, strict=True):
        calibration = fitted.calibration
        p = trial.test.ensemble(calibration.in_ensemble)
        called = p > calibration.point("sensitivity 95 %").threshold
        right += (called & trial.test.truth).sum()
        total += trial.test.truth.sum()
    judged = found.points["sensitivity 95 %"]
    assert judged.sensitivity.value == pytest.approx(right / total)
    assert judged.sensitivity.value == pytest.approx(0.95, abs=0.05)
    assert judged.threshold is None  # each trial has its own


def test_operating_points_are_configurable(sharp) -> None:
    found = calibrate(sharp, sensitivity=0.8, specificity=None, youden=True)
    assert list(found.points) == ["sensitivity 80 %", "Youden"]


def test_a_trial_without_validation_films_is_left_out_with_the_reason(sharp) -> None:
    lacking = replace(sharp.trials[1], validation=None)
    found = calibrate(replace(sharp, trials=(sharp.trials[0], lacking)))
    assert found.trials[1].reason == "no validation films were scored"
    assert sum(found.networks[0].before.counts) == 200
    assert found.reason is None


def test_validation_films_of_one_class_give_the_reason_and_nothing_else(
    make_films, make_scores
) -> None:
    validation = make_scores(make_films(10, share=1.0))
    test = make_scores(make_films(10, start=10))
    found = calibrate(Evidence(test.labels, (Trial("run", None, validation, test),), False))
    assert found.reason == "the validation films are of one class only"
    assert (found.networks, found.points, found.even) == ((), {}, None)


def test_the_study_is_json_without_nan(sharp) -> None:
    json.dumps(asdict(calibrate(sharp)), allow_nan=False)


# --- calibration.json ------------------------------------------------------------------------


def test_what_a_run_stores_is_read_back_as_it_was(sharp) -> None:
    stored = fit_calibration(sharp.trials[0].validation)
    again = Calibration.from_json(stored.to_json())
    assert again == stored
    assert isinstance(again.operating_points[0], OperatingPoint)
    assert again.digest == stored.digest


def test_another_temperature_is_another_digest(sharp) -> None:
    stored = fit_calibration(sharp.trials[0].validation)
    other = replace(stored, temperatures={**stored.temperatures, "vgg16": 1.0})
    assert other.digest != stored.digest


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c: c["temperatures"].update(vgg16=0.0), "temperatures must be positive"),
        (lambda c: c["temperatures"].pop("vgg16"), "no temperature for vgg16"),
        (lambda c: c["operating_points"][0].update(threshold=1.0), "between 0 and 1"),
        (lambda c: c.pop("labels"), "labels"),
        (lambda c: c.update(colour="blue"), "colour"),
        (lambda c: c.update(positives=1000), "1000 positive films of 200"),
    ],
)
def test_a_stored_calibration_that_cannot_be_served_is_refused(sharp, change, problem) -> None:
    facts = json.loads(fit_calibration(sharp.trials[0].validation).to_json())
    change(facts)
    with pytest.raises(CheckpointError, match=problem):
        Calibration.from_json(json.dumps(facts))


def test_a_damaged_file_is_refused() -> None:
    with pytest.raises(CheckpointError, match="no calibration"):
        Calibration.from_json('{"labels": ["a"')
