"""Subgroups, hard films, other prevalences, errors by sex and age, and scores against days."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy.special import logit

from cxrexport.evaluation.measures.metrics import figures
from cxrexport.evaluation.scores import Evidence, Scores, Trial
from cxrexport.evaluation.subgroups.film_columns import age_band
from cxrexport.evaluation.subgroups.judged import Subgroup, Subgroups, judge_subgroups
from cxrexport.evaluation.subgroups.right_and_wrong import extremes
from cxrexport.manifest import FilmRow


def run_of(films: list[FilmRow], probability: list[float] | np.ndarray) -> Evidence:
    """One run of one network with the probabilities given."""
    margins = {"resnet50": logit(np.asarray(probability))}
    test = Scores(films=tuple(films), labels=("normal", "tb"), margins=margins)
    return Evidence(test.labels, (Trial("run", None, None, test),), folds=False)


def group(found: Subgroups, column: str, value: str | None) -> Subgroup:
    return next(g for g in found.groups if (g.column, g.value) == (column, value))


@pytest.fixture
def two_sexes(make_films) -> Evidence:
    """80 women of whom 30 positive, 80 men of whom 29 positive."""
    films = [
        *make_films(80, share=30 / 80, sex="F"),
        *make_films(80, start=80, share=29 / 80, sex="M"),
    ]
    return run_of(films, np.random.default_rng(0).uniform(0.05, 0.95, 160))


def test_a_subgroup_of_thirty_films_a_class_is_judged_on_its_own_films(two_sexes) -> None:
    women = group(judge_subgroups(two_sexes), "sex", "F")
    there = two_sexes.trials[0].test.take(np.arange(80))
    expected = figures(there.truth, there.ensemble(), groups=there.patients)
    assert (women.films, women.positives, women.patients) == (80, 30, 80)
    assert (women.verdict, women.figures, women.reason) == ("judged", expected, None)


def test_with_one_film_less_it_cannot_be_judged(two_sexes) -> None:
    men = group(judge_subgroups(two_sexes), "sex", "M")
    assert (men.films, men.positives, men.figures) == (80, 29, None)
    assert men.verdict == "cannot be judged"
    assert men.reason == "29 tb and 51 normal films: fewer than 30 of a class"


@pytest.mark.parametrize(("count", "verdict"), [(30, "one class"), (29, "cannot be judged")])
def test_a_group_of_one_class_says_so_and_has_what_that_class_defines(
    make_films, count: int, verdict: str
) -> None:
    films = make_films(count, share=0.0, finding="pneumonia")
    found = group(judge_subgroups(run_of(films, np.full(count, 0.1))), "finding", "pneumonia")
    assert found.verdict == verdict
    assert "only normal films" in found.reason
    if verdict == "one class":
        assert found.figures.specificity.value == 1
        undefined = ("sensitivity", "roc_auc", "pr_auc", "ppv", "npv")
        assert [getattr(found.figures, name).value for name in undefined] == [None] * 5


def test_columns_without_a_value_are_absent_and_named(two_sexes) -> None:
    found = judge_subgroups(two_sexes)
    assert {g.column for g in found.groups} == {"sex"}
    assert found.absent == {
        "age": "no film has a value in the column age",
        "view": "no film has a value in the column view",
        "source": "no film has a value in the column source",
        "finding": "no film has a value in the column finding",
        "hard": "no film is marked hard",
    }


def test_films_without_a_value_are_a_group_of_their_own_and_last(make_films) -> None:
    films = [*make_films(4), *make_films(4, start=4, view="PA"), *make_films(4, start=8, view="AP")]
    found = judge_subgroups(run_of(films, np.full(12, 0.4)))
    assert [(g.value, g.films) for g in found.groups] == [("AP", 4), ("PA", 4), (None, 4)]


@pytest.mark.parametrize(
    ("age", "band"),
    [(0, "<40"), (39.9, "<40"), (40, "40-59"), (60, "60-79"), (79.9, "60-79"), (80, ">=80")],
)
def test_age_bands_hold_their_lower_end(age: float, band: str) -> None:
    assert age_band(age) == band


def test_age_bands_stand_in_order_of_age(make_films) -> None:
    films = [f for i, age in enumerate((85, 30, 65, 50)) for f in make_films(1, start=i, age=age)]
    found = judge_subgroups(run_of(films, np.full(4, 0.4)))
    assert [g.value for g in found.groups] == ["<40", "40-59", "60-79", ">=80"]


def test_hard_films_have_figures_however_few_and_a_reason_that_says_so(make_films) -> None:
    films = [*make_films(4, hard=True), *make_films(80, start=4)]
    found = judge_subgroups(run_of(films, [0.9, 0.2, 0.1, 0.1, *np.full(80, 0.4)]))
    hard, others = found.hard
    assert (hard.value, hard.figures.n, hard.verdict) == ("yes", 4, "cannot be judged")
    assert hard.figures.sensitivity.value == 1 / 2
    assert "fewer than 30" in hard.reason
    assert (others.value, others.verdict) == ("no", "judged")
    assert group(found, "hard", "yes").figures is None


def test_without_hard_films_nothing_is_said_of_them(two_sexes) -> None:
    assert judge_subgroups(two_sexes).hard == ()


def test_over_random_splits_a_film_counts_once_towards_being_judged(make_films) -> None:
    films = make_films(40, sex="F")  # 20 of each class, tested three times
    trial = run_of(films, np.linspace(0.9, 0.1, 40)).trials[0]
    evidence = Evidence(trial.test.labels, (trial,) * 3, folds=False)
    women = group(judge_subgroups(evidence), "sex", "F")
    assert (women.films, women.positives, women.verdict) == (40, 20, "cannot be judged")


def test_testing_the_same_films_twice_does_not_narrow_an_interval(make_films) -> None:
    films = make_films(80, sex="F")
    trial = run_of(films, np.random.default_rng(0).uniform(0.1, 0.9, 80)).trials[0]
    once, twice = (
        judge_subgroups(Evidence(trial.test.labels, (trial,) * k, folds=False)).groups[0].figures
        for k in (1, 2)
    )
    assert twice.n == 160
    assert (twice.roc_auc.low, twice.roc_auc.high) == pytest.approx(
        (once.roc_auc.low, once.roc_auc.high)
    )


# --- prevalence ------------------------------------------------------------------------------


@pytest.fixture
def of_known_worth(make_films) -> Evidence:
    """200 films, half positive; sensitivity 0.8, specificity 0.9."""
    positive, negative = [0.9] * 80 + [0.1] * 20, [0.8] * 10 + [0.2] * 90
    return run_of(make_films(200), positive + negative)


@pytest.mark.parametrize(("place", "share", "positives"), [(0, 0.05, 5), (1, 0.10, 11)])
def test_at_another_prevalence_only_the_predictive_values_change(
    of_known_worth, place: int, share: float, positives: int
) -> None:
    found = judge_subgroups(of_known_worth, draws=4000).prevalence[place]
    assert (found.prevalence, found.films, found.positives) == (share, 100 + positives, positives)
    pi = positives / found.films
    expected = {
        "sensitivity": 0.8,
        "specificity": 0.9,
        "accuracy": 0.8 * pi + 0.9 * (1 - pi),
        "npv": 0.9 * (1 - pi) / (0.9 * (1 - pi) + 0.2 * pi),
    }
    ours = {name: found.figures[name].value for name in expected}
    assert ours == pytest.approx(expected, abs=0.01)
    # A mean of ratios of small counts: near Bayes' 0.29 and 0.47, not at it.
    bayes = 0.8 * pi / (0.8 * pi + 0.1 * (1 - pi))
    assert found.figures["ppv"].value == pytest.approx(bayes, abs=0.03)
    assert found.figures["ppv"].low < bayes < found.figures["ppv"].high


def test_where_positive_films_are_too_few_negative_ones_are_left_out(make_films) -> None:
    films = make_films(1000, share=0.02)  # 20 positive, 980 negative: 2 %
    found = judge_subgroups(run_of(films, np.full(1000, 0.4))).prevalence[1]
    assert (found.positives, found.films) == (20, 200)


def test_too_few_films_for_a_prevalence_give_the_reason(make_films) -> None:
    # With five negative films, none of 5 is positive at 5 %, and one of 6 (17 %) at 10 %.
    for found, share in zip(
        judge_subgroups(run_of(make_films(10), np.full(10, 0.4))).prevalence, (5, 10), strict=True
    ):
        reason = f"too few films for a share of {share} % positive"
        assert (found.films, found.figures, found.reason) == (0, {}, reason)


# --- errors and days -------------------------------------------------------------------------


def test_right_and_wrong_films_are_counted_by_sex_and_age(make_film: Callable) -> None:
    films = [
        make_film(0, positive=True, sex="F", age=30.0),  # 0.9: right
        make_film(1, positive=True, sex="F", age=70.0),  # 0.2: false negative
        make_film(2, positive=False, sex="M", age=30.0),  # 0.7: false positive
        make_film(3, positive=False, age=35.0),  # 0.1: right
    ]
    found = judge_subgroups(run_of(films, [0.9, 0.2, 0.7, 0.1]))
    rows = [(r.value, r.right, r.wrong, r.false_positive, r.false_negative) for r in found.errors]
    assert rows == [
        ("F", 1, 1, 0, 1),
        ("M", 0, 1, 1, 0),
        (None, 1, 0, 0, 0),
        ("<40", 2, 1, 1, 0),
        ("60-79", 0, 1, 0, 1),
    ]
    assert (found.ages_right, found.ages_wrong) == ((30.0, 35.0), (30.0, 70.0))


def test_days_have_points_and_a_mean_for_each_class(make_film: Callable) -> None:
    since = {"offset_meaning": "days since admission"}
    films = [
        make_film(0, positive=True, offset_days=3.0, **since),
        make_film(1, positive=True, offset_days=0.0, **since),
        make_film(2, positive=True, offset_days=0.5, **since),
        make_film(3, positive=False, offset_days=0.0, **since),
        make_film(4, positive=False, offset_days=-0.5),
        make_film(5, positive=False),
    ]
    admission, unsaid = judge_subgroups(run_of(films, [0.9, 0.3, 0.8, 0.1, 0.6, 0.5])).days
    assert [p.day for p in admission.points] == [0, 0, 0.5, 3]
    daily = [(d.day, d.positive, d.films, round(d.mean, 9), d.wrong) for d in admission.daily]
    assert daily == [(0, True, 2, 0.55, 1), (0, False, 1, 0.1, 0), (3, True, 1, 0.9, 0)]
    assert (unsaid.meaning, [d.day for d in unsaid.daily]) == (None, [-1])


def test_without_a_member_of_the_ensemble_there_is_a_reason(two_sexes) -> None:
    trial = two_sexes.trials[0]
    test = replace(trial.test, margins={"densenet121": trial.test.margins["resnet50"]})
    found = judge_subgroups(replace(two_sexes, trials=(replace(trial, test=test),)))
    assert (found.groups, found.reason) == ((), "no network of the ensemble was trained")


def test_subgroups_are_json_without_nan_and_the_same_each_time(make_films, make_folds) -> None:
    films = [
        *make_films(60, sex="F", age=50.0, view="AP", source="a", finding="x", offset_days=1.0),
        *make_films(60, start=60, sex="M", hard=True, source="b"),
    ]
    evidence = make_folds(films, networks=["resnet50"])
    texts = {json.dumps(asdict(judge_subgroups(evidence)), allow_nan=False) for _ in range(2)}
    assert len(texts) == 1


def test_the_most_certain_films_come_first_right_and_wrong_apart(make_film, make_scores) -> None:
    films = [make_film(i, positive=i < 3) for i in range(6)]
    margins = {"vgg16": np.array([3.0, -2.0, 0.5, -4.0, 1.0, 2.5])}
    test = replace(make_scores(films, margins=margins), listed=("vgg16",))
    trials = (Trial("a", None, None, test), Trial("b", None, None, test.take([0, 4])))
    found = extremes(Evidence(test.labels, trials, folds=False), 0.5)
    assert [each.film.row for each in found.right] == [films[i].row for i in (3, 0, 2)]
    assert [each.film.row for each in found.wrong] == [films[i].row for i in (5, 1, 4)]
    assert found.right[0].probability == pytest.approx(1 / (1 + np.exp(4.0)))


def test_a_film_of_several_trials_has_the_mean_of_its_probabilities(make_film, make_scores) -> None:
    film = make_film(0, positive=True)
    tests = [
        replace(make_scores([film], margins={"vgg16": np.array([margin])}), listed=("vgg16",))
        for margin in (2.0, -3.0)
    ]
    trials = tuple(Trial(name, None, None, test) for name, test in zip("ab", tests, strict=True))
    (wrong,) = extremes(Evidence(tests[0].labels, trials, folds=False), 0.5).wrong
    assert wrong.probability == pytest.approx((1 / (1 + np.exp(-2.0)) + 1 / (1 + np.exp(3.0))) / 2)
