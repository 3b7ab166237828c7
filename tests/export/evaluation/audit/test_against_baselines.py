"""The audit's figures beside baselines, on blanked films and in heatmaps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logit

from cxrexport.ensemble import DEFAULT_MEMBERS
from cxrexport.evaluation.audit.baselines import Baseline
from cxrexport.evaluation.scores import Scores, Trial
from made_up_evidence import LABELS, Films, audited, evidence, shortcut, trial


def test_baseline_is_compared_on_the_same_films_and_resamples(make_films: Films) -> None:
    given = shortcut(make_films)
    score = given.pooled.ensemble()
    same, worse = audited(given, (Baseline("thumbnail", score), Baseline("age", -score))).baselines
    assert (same.difference.value, same.difference.low, same.difference.high) == (0, 0, 0)
    assert worse.roc_auc.value == pytest.approx(0.25)
    assert worse.difference.value == pytest.approx(0.5)
    assert worse.difference_within.value == pytest.approx(0.0)


def test_folds_of_different_make_up_do_not_turn_a_baseline_that_knows_nothing_round(
    make_films: Films,
) -> None:
    # What a fold's training films teach of it is the opposite of its own share of positives.
    poor, rich = make_films(20, share=0.2), make_films(20, start=50, share=0.8)
    given = evidence(trial(poor, np.full(20, 0.5)), trial(rich, np.full(20, 0.5)))
    prevalence = Baseline("view", np.repeat([0.8, 0.2], 20))
    (found,) = audited(given, (prevalence,)).baselines
    assert found.roc_auc.value == 0.5
    assert found.difference.value == 0.0


def test_absent_baseline_keeps_its_reason(make_films: Films) -> None:
    (absent,) = audited(shortcut(make_films), (Baseline("view", None, "not stated"),)).baselines
    assert (absent.roc_auc.value, absent.reason) == (None, "not stated")


def test_blanked_films_give_auc_loss_and_the_share_of_skill_that_is_kept(
    make_films: Films,
) -> None:
    films = make_films(4, source="north")
    # Whole films: 4 of 4 pairs right. Blanked: positives 0.9, 0.2 against 0.3, 0.1 → 3 of 4.
    blanked = {"only_border": {"resnet50": logit(np.array([0.9, 0.2, 0.3, 0.1]))}}
    given = evidence(trial(films, [0.9, 0.8, 0.2, 0.1], blanked=blanked))
    no_lungs, _, border, *_ = audited(given).interventions
    assert border.name == "only_border"
    assert border.roc_auc.value == pytest.approx(0.75)
    assert border.loss.value == pytest.approx(0.25)
    assert border.kept == pytest.approx(0.5)
    assert border.kept_within == pytest.approx(0.5)
    assert (no_lungs.roc_auc.value, no_lungs.kept) == (None, None)
    assert no_lungs.reason == "the networks were not asked about blanked films"


def test_blanking_is_absent_where_a_member_of_the_ensemble_was_not_asked(
    make_films: Films,
) -> None:
    margins = {name: np.arange(4.0) for name in DEFAULT_MEMBERS}
    blanked = {"no_lungs": {name: np.arange(4.0) for name in DEFAULT_MEMBERS[:3]}}
    scores = Scores(tuple(make_films(4)), LABELS, margins, blanked=blanked)
    found = audited(evidence(Trial("fold 1", None, None, scores)))
    assert found.interventions[0].roc_auc.value is None


def test_no_skill_keeps_no_share_of_it(make_films: Films) -> None:
    blanked = {"only_border": {"resnet50": np.array([1.0, 0, 0, 0])}}
    given = evidence(trial(make_films(4), [0.1, 0.2, 0.8, 0.9], blanked=blanked))
    assert audited(given).interventions[2].kept is None


def test_heat_is_compared_with_the_lungs_share_of_the_same_films(make_films: Films) -> None:
    films = make_films(6)
    given = evidence(
        trial(
            films,
            np.full(6, 0.5),
            heat_in_lungs=np.array([0.5, 0.7, np.nan, 0.1, 0.2, 0.3]),
            lung_share=np.array([0.2, 0.4, 0.9, 0.2, 0.2, 0.2]),
        )
    )
    negative, positive = audited(given).heat
    assert (positive.label, positive.films, positive.empty) == ("tb", 2, 1)
    assert positive.inside.value == pytest.approx(0.6)
    assert positive.lungs == pytest.approx(0.3)  # without the film that has no heatmap
    assert positive.ratio.value == pytest.approx(2.0)
    assert negative.ratio.value == pytest.approx(1.0)


def test_heat_is_absent_with_a_reason_where_there_is_none(make_films: Films) -> None:
    films = make_films(4)
    never = audited(evidence(trial(films, np.full(4, 0.5)))).heat[1]
    assert (never.ratio.value, never.ratio.reason) == (None, "the heatmaps were not computed")
    nothing = {"heat_in_lungs": np.full(4, np.nan), "lung_share": np.full(4, 0.3)}
    empty = audited(evidence(trial(films, np.full(4, 0.5), **nothing))).heat[1]
    assert (empty.ratio.value, empty.films, empty.empty, empty.lungs) == (None, 0, 2, None)


def test_films_without_lungs_are_counted(make_films: Films) -> None:
    given = evidence(trial(make_films(4), np.full(4, 0.5), lung_share=np.array([0, 0.2, 0.3, 0.0])))
    assert audited(given).without_lungs == 2
