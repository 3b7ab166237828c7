"""The audit's figures: label and source, and skill on the whole set and within a source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cxrexport.evaluation.audit.judged import audit
from cxrexport.evaluation.audit.same_source import pair_auc
from cxrexport.evaluation.audit.tables import Audit
from cxrexport.evaluation.scores import Evidence
from made_up_evidence import Films, audited, evidence, shortcut, trial


def test_pair_auc_counts_pairs_of_the_same_stratum_ties_half() -> None:
    # Stratum 0: positive 0.9, 0.4 against negative 0.4, 0.1 → 1, 1, ½, 1 of 4 pairs.
    # Stratum 1: positive 0.2 against negative 0.8 → 0 of 1. Film of stratum -1: in no pair.
    truth = np.array([True, True, False, False, True, False, True])
    score = np.array([0.9, 0.4, 0.4, 0.1, 0.2, 0.8, 0.99])
    strata = np.array([0, 0, 0, 0, 1, 1, -1])
    assert pair_auc(truth, score, strata, np.ones((1, 7))).tolist() == [pytest.approx(3.5 / 5)]


def test_pair_auc_agrees_with_every_pair_looked_at_on_every_resample() -> None:
    random = np.random.default_rng(0)
    truth = random.random(40) < 0.4
    score = random.integers(0, 10, 40) / 10
    strata = random.integers(-1, 3, 40)
    weights = random.integers(0, 3, (20, 40)).astype(float)
    expected = []
    for weight in weights:
        right = pairs = 0.0
        for i in np.flatnonzero(truth):
            for j in np.flatnonzero(~truth):
                if strata[i] == strata[j] >= 0:
                    pairs += weight[i] * weight[j]
                    better = (score[i] > score[j]) + (score[i] == score[j]) / 2
                    right += weight[i] * weight[j] * better
        expected.append(right / pairs)
    np.testing.assert_allclose(pair_auc(truth, score, strata, weights), expected)


def test_pair_auc_is_undefined_without_a_pair() -> None:
    truth = np.array([True, False])
    assert np.isnan(pair_auc(truth, np.array([1.0, 0.0]), np.array([0, 1]), np.ones((1, 2))))


def test_cramers_v_is_the_root_of_chi_squared_over_n(make_films: Films) -> None:
    # 30:10 against 10:30. Expected 20 in each cell: χ² = 4 · 10² / 20 = 20, V = √(20 / 80) = 0.5.
    films = make_films(40, share=0.75, source="north")
    films += make_films(40, start=100, share=0.25, source="south")
    association = audited(evidence(trial(films, np.full(80, 0.5)))).association
    assert association.cramers_v == pytest.approx(0.5)
    assert [(s.source, s.positives, s.negatives) for s in association.sources] == [
        ("north", 30, 10),
        ("south", 10, 30),
    ]


def test_source_alone_has_the_auc_of_its_shares_of_positives(
    make_folds: Callable[..., Evidence], make_films: Films
) -> None:
    # Of pairs (positive, negative) 0.75 · 0.75 have the positive one in the richer source and
    # 2 · 0.75 · 0.25 are of the same source and tie: 0.5625 + 0.1875 = 0.75.
    films = make_films(60, share=0.75, source="north")
    films += make_films(60, start=100, share=0.25, source="south")
    association = audited(make_folds(films)).association  # 15:5 and 5:15 in each fold
    assert association.roc_auc.value == pytest.approx(0.75)


def test_source_alone_is_absent_with_a_reason_where_training_films_are_not_known(
    make_films: Films,
) -> None:
    films = make_films(20, source="north") + make_films(20, start=50, source="south")
    association = audited(evidence(trial(films, np.full(40, 0.5)))).association
    assert association.roc_auc.value is None
    assert "the training films of fold 1 were not scored" in (association.roc_auc.reason or "")


def test_films_without_a_source_are_counted_and_in_no_source(make_films: Films) -> None:
    films = make_films(4, source="north") + make_films(6, start=50)
    found = audited(evidence(trial(films, np.linspace(0.1, 0.9, 10))))
    assert found.association.unstated == 6
    assert [one.count.films for one in found.skill.each] == [4]
    assert (found.skill.positives, found.skill.negatives) == (2, 2)


def test_judge_that_knows_the_source_only_is_at_chance_within_it(make_films: Films) -> None:
    skill = audited(shortcut(make_films)).skill
    assert skill.whole.roc_auc.value == pytest.approx(0.75)
    assert skill.roc_auc.value == pytest.approx(0.5)
    assert skill.gap.value == pytest.approx(0.25)
    assert skill.gap.low is not None
    assert skill.gap.low > 0


def test_figures_within_a_source_are_those_of_its_films_alone(make_films: Films) -> None:
    random = np.random.default_rng(1)
    north, south = make_films(70, source="north"), make_films(40, start=100, source="south")
    score = random.random(110)
    both = audited(evidence(trial(north + south, score))).skill
    alone = audited(evidence(trial(south, score[70:]))).skill
    assert both.each[1].figures == alone.whole


def test_source_of_one_class_has_no_figures_and_one_of_few_films_is_shown_but_not_judged(
    make_films: Films,
) -> None:
    films = make_films(40, share=1, source="east")
    films += make_films(59, start=100, share=30 / 59, source="north")
    films += make_films(60, start=200, source="south")
    score = np.linspace(0.1, 0.9, 159)
    east, north, south = audited(evidence(trial(films, score))).skill.each
    assert (east.can_be_judged, east.figures) == (False, None)
    assert east.reason == "every film is tb"
    assert (north.can_be_judged, north.figures is not None) == (False, True)
    assert (north.reason or "").startswith("30 tb and 29 normal films: with fewer than 30")
    assert (south.can_be_judged, south.reason) == (True, None)


def test_sources_of_one_class_each_leave_no_figure_within_a_source(make_films: Films) -> None:
    films = make_films(40, share=1, source="east") + make_films(
        40, start=50, share=0, source="west"
    )
    skill = audited(evidence(trial(films, np.linspace(0.9, 0.1, 80)))).skill
    assert (skill.roc_auc.value, skill.gap.value, skill.can_be_judged) == (None, None, False)
    assert skill.reason == skill.roc_auc.reason == "no source has films of both classes"


def test_small_sources_are_judged_together(make_films: Films) -> None:
    films = [film for k in range(5) for film in make_films(12, start=100 * k, source=f"ward {k}")]
    skill = audited(evidence(trial(films, np.linspace(0.1, 0.9, 60)))).skill
    assert (skill.positives, skill.negatives, skill.can_be_judged) == (30, 30, True)
    assert not any(one.can_be_judged for one in skill.each)


def test_over_random_splits_scores_of_different_splits_are_never_compared(
    make_films: Films,
) -> None:
    # Each split ranks its own films without an error; the second one's scores are all lower.
    films = make_films(20, source="north")
    perfect = np.linspace(0.9, 0.6, 20)
    given = evidence(
        trial(films, perfect, "split 1"), trial(films, perfect - 0.5, "split 2"), folds=False
    )
    skill = audited(given).skill
    assert skill.whole.roc_auc.value == 1.0
    assert skill.roc_auc.value == 1.0
    assert skill.each[0].figures is not None
    assert skill.each[0].figures.roc_auc.value == 1.0
    pooled = audited(replace(given, folds=True)).skill.whole.roc_auc.value
    assert pooled == pytest.approx(0.75)  # every second split's positive below the first's negative


def test_film_that_several_splits_tested_is_counted_once(make_films: Films) -> None:
    films = make_films(20, source="north")
    score = np.linspace(0.9, 0.1, 20)
    given = evidence(trial(films, score, "split 1"), trial(films, score, "split 2"), folds=False)
    found = audited(given)
    assert (found.positives, found.negatives) == (10, 10)
    assert found.skill.each[0].count.films == 20
    assert (found.skill.positives, found.skill.negatives) == (10, 10)


def test_intervals_come_from_patients_so_copies_of_a_film_do_not_narrow_them(
    make_films: Films,
) -> None:
    films = make_films(40, source="north")
    score = np.random.default_rng(3).random(40)
    often = [replace(f, image=f.image.with_suffix(f".{k}.png")) for f in films for k in range(9)]

    def width(found: Audit) -> float:
        auc = found.skill.roc_auc
        assert auc.low is not None
        assert auc.high is not None
        return auc.high - auc.low

    once = audit(evidence(trial(films, score)), (), bootstrap=400)
    copied = audit(evidence(trial(often, np.repeat(score, 9))), (), bootstrap=400)
    assert width(copied) == pytest.approx(width(once), rel=0.15)
