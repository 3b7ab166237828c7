"""A source that was left out: its AUC, the thresholds that travel, what a few films mend."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrexport.evaluation.audit import Baseline
from cxrexport.evaluation.scores import Evidence, Trial
from cxrexport.evaluation.transfer import _drawn, transfers

OPTIONS = {"draws": 60, "bootstrap": 40}


@pytest.fixture
def left_out(make_films, make_scores):
    """Learn from north, judge south, whose margins are `off` too low; patients of two films."""

    def make(count=200, off=0.0, share=0.5):
        def films(n, start, source):
            made = make_films(n, start=start, source=source, share=share)
            return [replace(f, patient_id=f"{source}-{i // 2}") for i, f in enumerate(made)]

        train = make_scores(films(100, 0, "north"), skill=2.0, seed=1)
        validation = make_scores(films(200, 1000, "north"), skill=2.0, seed=2)
        test = make_scores(films(count, 5000, "south"), skill=2.0, seed=3)
        test = replace(test, margins={n: margin - off for n, margin in test.margins.items()})
        trial = Trial("without-south", train, validation, test)
        return Evidence(test.labels, (trial,), folds=False)

    return make


def at(found, name):
    return next(each for each in found.travels if each.name == name)


def test_a_source_that_was_left_out_has_its_auc_by_the_ensemble_each_network_and_baseline(
    left_out,
) -> None:
    evidence = left_out()
    test = evidence.trials[0].test
    glance = np.random.default_rng(0).random(len(test))
    (found,) = transfers(evidence, [Baseline("thumbnail", glance)], **OPTIONS)
    assert (found.source, found.learnt_from) == ("south", ("north",))
    assert (found.films, found.patients, found.positives) == (200, 100, 100)
    assert set(found.roc_auc) == {"ensemble", "thumbnail", *test.margins}
    for name, score in (("ensemble", test.ensemble()), ("thumbnail", glance)):
        area = found.roc_auc[name]
        assert area.value == pytest.approx(roc_auc_score(test.truth, score))
        assert area.low < area.value < area.high


def test_a_threshold_that_does_not_travel_is_mended_by_twenty_films(left_out) -> None:
    (found,) = transfers(left_out(off=6.0), **OPTIONS)
    travels = at(found, "specificity 90 %")
    assert travels.sensitivity.value < 0.1
    assert "200 validation films of north: " in travels.chosen_on
    assert at(found, "0.5").sensitivity.value < 0.1
    mended = found.mended
    assert (mended.films, mended.draws) == (20, 60)
    for way in (mended.recalibrated, mended.chosen_anew):
        assert way.sensitivity.value > 0.8
        assert way.specificity.value > 0.8
    assert mended.brier_after.high < mended.brier_before.low
    assert found.own.specificity.value >= 0.9


def test_where_a_threshold_travels_twenty_films_change_little(left_out) -> None:
    (found,) = transfers(left_out(), **OPTIONS)
    assert at(found, "specificity 90 %").specificity.value == pytest.approx(0.9, abs=0.07)
    assert found.mended.brier_after.value == pytest.approx(
        found.mended.brier_before.value, abs=0.01
    )


def test_no_patient_of_a_drawn_film_is_judged(left_out) -> None:
    evidence = left_out(count=60)
    test = evidence.trials[0].test
    drawn = list(_drawn(test, 19, 30, (0, 1)))
    assert len(drawn) == 30
    for mends, judged in drawn:
        assert mends.sum() == 19
        assert not set(test.patients[mends]) & set(test.patients[judged])
        for side in (mends, judged):
            assert set(test.truth[side]) == {True, False}
    assert len({mends.tobytes() for mends, _ in drawn}) == 30


def test_too_few_films_to_draw_from_are_said(left_out) -> None:
    (found,) = transfers(left_out(count=38), **OPTIONS)
    assert found.mended is None
    assert "38 films are too few to draw 20" in found.reason
    assert found.own is not None


def test_a_class_too_rare_to_be_drawn_is_said(left_out) -> None:
    (found,) = transfers(left_out(count=100, share=0.01), draws=200, bootstrap=10)
    assert found.mended is None
    assert "too few" in found.reason


def test_a_source_that_the_networks_learnt_from_is_no_other_hospital(left_out) -> None:
    evidence = left_out()
    trial = evidence.trials[0]
    at_home = replace(trial, train=trial.test, validation=trial.validation)
    unknown = replace(trial, train=None)
    mixed = replace(
        trial, test=replace(trial.test, films=(*trial.train.films[:1], *trial.test.films[1:]))
    )
    assert transfers(replace(evidence, trials=(at_home, unknown, mixed)), **OPTIONS) == ()


def test_without_validation_films_there_is_an_auc_and_the_reason(left_out) -> None:
    evidence = left_out()
    trial = replace(evidence.trials[0], validation=None)
    (found,) = transfers(replace(evidence, trials=(trial,)), **OPTIONS)
    assert found.roc_auc["ensemble"].value is not None
    assert [each.name for each in found.travels] == ["0.5"]
    assert (found.own, found.mended, found.reason) == (
        None,
        None,
        "no validation films were scored",
    )


def test_each_trial_gets_its_own_part_of_a_baseline(left_out) -> None:
    evidence = left_out(count=60)
    first = evidence.trials[0]
    truth = first.test.truth.astype(float)
    both = replace(evidence, trials=(first, replace(first, name="again")))
    good, bad = transfers(
        both, [Baseline("thumbnail", np.concatenate([truth, 1 - truth]))], **OPTIONS
    )
    assert (good.roc_auc["thumbnail"].value, bad.roc_auc["thumbnail"].value) == (1.0, 0.0)


def test_transfer_is_json_without_nan_and_the_same_twice(left_out) -> None:
    evidence = left_out(count=60)
    texts = {json.dumps([asdict(t) for t in transfers(evidence, **OPTIONS)], allow_nan=False)}
    texts |= {json.dumps([asdict(t) for t in transfers(evidence, **OPTIONS)], allow_nan=False)}
    assert len(texts) == 1
