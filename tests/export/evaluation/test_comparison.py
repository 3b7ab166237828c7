"""Table 2: which rows there are, what they are made of, and what is said of those missing."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrexport.evaluation.audit.baselines import Baseline
from cxrexport.evaluation.audit.judged import audit
from cxrexport.evaluation.comparison import compare
from cxrexport.evaluation.measures import BOOTSTRAP, bootstrapped, delong_difference
from cxrexport.evaluation.measures.metrics import figures, paired_difference
from cxrexport.evaluation.scores import COMPARISON, Evidence, Trial, concatenate

SPLIT = 60


@pytest.fixture
def evidence(make_films, make_folds):
    """Three folds of 60 test films, half positive, all six networks."""
    return make_folds(make_films(3 * SPLIT), seed=1)


def splits(evidence: Evidence) -> Evidence:
    return replace(evidence, folds=False)


def without(evidence: Evidence, trial: int, network: str) -> Evidence:
    trials = list(evidence.trials)
    test = trials[trial].test
    margins = {name: m for name, m in test.margins.items() if name != network}
    trials[trial] = replace(trials[trial], test=replace(test, margins=margins))
    return replace(evidence, trials=tuple(trials))


def test_the_rows_are_the_networks_in_order_then_ensemble_and_vote(evidence) -> None:
    assert [row.name for row in compare(evidence).rows] == [*COMPARISON, "ensemble", "vote"]


def test_the_ensemble_is_of_the_members_that_are_listed_and_all_of_them_vote(
    make_scores, make_films
) -> None:
    made = make_scores(make_films(40), networks=("tiny", "vgg16", "resnet34"))
    listed = replace(made, listed=("vgg16", "tiny"))
    evidence = Evidence(made.labels, (Trial("run", None, None, listed),), folds=False)
    comparison = compare(evidence)
    assert comparison.row("ensemble").members == ("vgg16", "tiny")
    assert comparison.row("vote").members == ("resnet34", "vgg16", "tiny")
    assert comparison.row("tiny").members == ("tiny",)
    mean = (listed.probability("vgg16") + listed.probability("tiny")) / 2
    np.testing.assert_allclose(listed.ensemble(), mean)
    against = {each.than for each in comparison.differences if each.better == "ensemble"}
    assert {"vgg16", "tiny"} <= against
    assert "ensemble" not in comparison.missing


def test_a_member_that_was_not_trained_is_missing_from_the_ensemble(
    make_scores, make_films
) -> None:
    made = replace(make_scores(make_films(40), networks=("vgg16",)), listed=("vgg16", "tiny"))
    comparison = compare(Evidence(made.labels, (Trial("run", None, None, made),), folds=False))
    assert comparison.row("ensemble").members == ("vgg16",)
    assert comparison.missing["ensemble"] == "tiny not trained"


def test_what_is_taken_and_joined_keeps_the_list_of_members(make_scores, make_films) -> None:
    made = replace(make_scores(make_films(10), networks=("vgg16",)), listed=("vgg16", "tiny"))
    assert made.take([1, 2]).listed == concatenate([made, made]).listed == ("vgg16", "tiny")
    assert (made.members, made.embedder) == (("vgg16",), "vgg16")


def test_a_row_pooled_over_folds_is_the_figure_of_all_films_at_once(evidence) -> None:
    pooled = evidence.pooled
    expected = figures(pooled.truth, pooled.ensemble(), seed=7, groups=pooled.patients)
    assert compare(evidence, seed=7).row("ensemble").pooled == expected


def test_over_trials_is_the_mean_of_the_trials_and_counts_are_their_sums(evidence) -> None:
    row = compare(splits(evidence)).row("vgg16")
    aucs = [
        roc_auc_score(trial.test.truth, trial.test.margins["vgg16"]) for trial in evidence.trials
    ]
    assert row.over_trials.roc_auc.value == pytest.approx(np.mean(aucs))
    assert (row.over_trials.n, row.over_trials.positives) == (3 * SPLIT, 3 * SPLIT // 2)
    assert row.over_trials.bootstrap == 3 * BOOTSTRAP
    assert row.pooled is None


def test_the_histograms_samples_are_those_behind_the_interval(evidence) -> None:
    row = compare(splits(evidence)).row("ensemble")
    samples = np.concatenate(row.samples["roc_auc"])
    assert samples.shape == (3 * BOOTSTRAP,)
    low, high = np.percentile(samples, [2.5, 97.5])
    assert (row.over_trials.roc_auc.low, row.over_trials.roc_auc.high) == (low, high)
    assert compare(splits(evidence)).row("vgg16").samples == {}


def test_each_trial_has_resamples_of_its_own(evidence) -> None:
    same = replace(evidence, trials=(evidence.trials[0],) * 2, folds=False)
    first, second = compare(same).row("ensemble").samples["roc_auc"]
    assert first != second


def test_the_vote_is_of_five_networks_and_has_no_auc(evidence) -> None:
    row = compare(evidence).row("vote")
    assert row.members == ("resnet34", "resnet50", "resnet152", "vgg16", "densenet121")
    assert row.pooled.roc_auc.value is None
    assert "vote" in row.pooled.roc_auc.reason
    five = np.stack([evidence.pooled.margins[name] > 0 for name in row.members])
    right = (five.sum(axis=0) >= 3) == evidence.pooled.truth
    assert row.pooled.accuracy.value == pytest.approx(right.mean())


def test_the_ensemble_is_the_mean_of_the_four(evidence) -> None:
    row = compare(evidence).row("ensemble")
    assert row.members == ("resnet34", "resnet50", "resnet152", "vgg16")
    each = [1 / (1 + np.exp(-evidence.pooled.margins[name])) for name in row.members]
    expected = roc_auc_score(evidence.pooled.truth, np.mean(each, axis=0))
    assert row.pooled.roc_auc.value == pytest.approx(expected)


def test_differences_are_paired_on_the_films_themselves(evidence) -> None:
    pooled = evidence.pooled
    found = {(d.better, d.than, d.metric): d for d in compare(evidence, seed=3).differences}
    drawn = {"seed": 3, "groups": pooled.patients}
    alone = np.stack([pooled.probability(name) for name in pooled.members])
    expected = paired_difference(pooled.truth, pooled.ensemble(), alone, **drawn)
    ours = found["ensemble", "mean of single networks", "roc_auc"].pooled
    assert (ours.value, ours.low, ours.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    expected = paired_difference(
        pooled.truth,
        pooled.probability("resnet50"),
        pooled.probability("resnet50-plain"),
        **drawn,
    )
    ours = found["resnet50", "resnet50-plain", "roc_auc"].pooled
    assert (ours.value, ours.low, ours.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )


def test_a_baseline_is_a_row_and_is_compared_with_the_ensemble(evidence) -> None:
    chance = np.random.default_rng(0).random(3 * SPLIT)
    found = compare(evidence, baselines=[Baseline("thumbnail", chance)])
    row = found.row("thumbnail")
    assert row.members == ()
    assert row.pooled.roc_auc.value == roc_auc_score(evidence.pooled.truth, chance)
    difference = next(d for d in found.differences if d.than == "thumbnail")
    assert difference.pooled.low > 0


def test_a_baseline_that_is_absent_is_said_so(evidence) -> None:
    found = compare(evidence, baselines=[Baseline("age", None, "the manifest has no ages")])
    assert found.row("age") is None
    assert found.missing["age"] == "the manifest has no ages"


def test_a_network_that_was_not_trained_is_named_and_others_are_judged(evidence) -> None:
    for trial in range(3):
        evidence = without(evidence, trial, "densenet121")
    found = compare(evidence)
    assert found.row("densenet121") is None
    assert found.missing == {
        "densenet121": "densenet121 not trained",
        "vote": "densenet121 not trained",
    }
    assert found.row("vote").members == ("resnet34", "resnet50", "resnet152", "vgg16")


def test_a_network_that_one_trial_lacks_is_judged_on_the_others(evidence) -> None:
    found = compare(without(evidence, 1, "resnet152"))
    row = found.row("resnet152")
    assert row.trials[1] is None
    assert row.over_trials.n == 2 * SPLIT
    assert row.pooled is None
    assert found.missing["resnet152"] == "resnet152 not trained in fold 2"
    difference = next(d for d in found.differences if d.than == "resnet152")
    assert difference.over_trials.reason == "over 2 of 3 trials: undefined in the others"


def test_delong_stands_beside_a_difference_where_each_film_was_tested_once(evidence) -> None:
    found = {(d.better, d.than, d.metric): d for d in compare(evidence).differences}
    pooled = evidence.pooled
    alone = [pooled.probability(name) for name in pooled.members]
    ours = found["ensemble", "mean of single networks", "roc_auc"]
    assert ours.delong == delong_difference(pooled.truth, pooled.ensemble(), alone)
    assert ours.delong.value == pytest.approx(ours.pooled.value)
    assert ours.delong.low == pytest.approx(ours.pooled.low, abs=0.01)
    assert ours.delong.high == pytest.approx(ours.pooled.high, abs=0.01)
    assert found["ensemble", "vote", "accuracy"].delong is None
    over_splits = compare(splits(evidence)).differences
    assert all(each.delong is None for each in over_splits)


def test_the_study_s_own_sampling_has_a_row_of_its_own(evidence) -> None:
    pooled = evidence.pooled
    found = compare(evidence, seed=4).as_study
    assert (found.bootstrap, found.resampled) == (100, "films")
    again = bootstrapped(pooled.truth, pooled.ensemble(), bootstrap=100, seed=4, exact=False)
    assert found == again.figures
    assert compare(splits(evidence)).as_study is None


def test_patients_are_resampled_where_one_has_several_films(make_film, make_scores) -> None:
    films = [make_film(i, positive=i < 20, patient_id=f"p{i // 4}") for i in range(40)]
    test = make_scores(films, networks=["resnet34", "vgg16"])
    evidence = Evidence(test.labels, (Trial("run", None, None, test),), folds=False)
    found = compare(evidence)
    row = found.row("ensemble")
    assert (found.films, found.patients) == (40, 10)
    assert row.over_trials.resampled == "patients"
    by_film = figures(test.truth, test.ensemble())
    assert row.over_trials.roc_auc.value == by_film.roc_auc.value
    assert row.over_trials.roc_auc.low != by_film.roc_auc.low
    assert row.over_trials.accuracy.low < by_film.accuracy.low


def test_a_single_trial_has_one_interval_whichever_chapter_gives_it(
    make_films, make_scores
) -> None:
    test = make_scores(make_films(80), skill=1.0)
    evidence = Evidence(test.labels, (Trial("run", None, None, test),), folds=False)
    row = compare(evidence, seed=2, threshold=0.4).row("ensemble")
    whole = audit(evidence, (), seed=2, threshold=0.4).skill.whole
    assert row.over_trials == row.trials[0] == whole


def test_the_comparison_is_json_without_nan_and_the_same_each_time(evidence) -> None:
    texts = {json.dumps(asdict(compare(evidence, seed=5)), allow_nan=False) for _ in range(2)}
    assert len(texts) == 1


def test_the_best_single_network_is_named_and_the_ensemble_is_compared_with_it(
    make_films, make_folds
) -> None:
    skill = dict.fromkeys(COMPARISON, 1.0) | {"resnet152": 2.5}
    found = compare(make_folds(make_films(3 * SPLIT), seed=1, skill=skill))
    aucs = {name: found.row(name).pooled.roc_auc.value for name in COMPARISON}
    assert found.best_single == max(aucs, key=aucs.get) == "resnet152"
    (difference,) = [
        each
        for each in found.differences
        if (each.better, each.than, each.metric) == ("ensemble", "resnet152", "roc_auc")
    ]
    ensemble = found.row("ensemble").pooled.roc_auc.value
    assert difference.pooled.value == pytest.approx(ensemble - aucs["resnet152"])
