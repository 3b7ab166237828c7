"""The audit's figures: within source, against baselines, without the lungs, in the embedding."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import logit

from cxrexport.ensemble import DEFAULT_MEMBERS
from cxrexport.evaluation.audit.baselines import Baseline
from cxrexport.evaluation.audit.judged import Audit, audit
from cxrexport.evaluation.audit.same_source import pair_auc
from cxrexport.evaluation.measures.intervals import Interval
from cxrexport.evaluation.scores import Evidence, Scores, Trial
from cxrexport.manifest import FilmRow

LABELS = ("normal", "tb")
Films = Callable[..., list[FilmRow]]
Floats = npt.NDArray[np.float64]


def trial(
    films: Sequence[FilmRow], score: Sequence[float] | Floats, name: str = "fold 1", **more: object
) -> Trial:
    """One network whose probabilities are `score`; it learnt from nothing that is known."""
    margins = {"resnet50": logit(np.asarray(score, dtype=float))}
    return Trial(name, None, None, Scores(tuple(films), LABELS, margins, **more))  # type: ignore[arg-type]


def evidence(*trials: Trial, folds: bool = True) -> Evidence:
    return Evidence(LABELS, trials, folds)


def audited(given: Evidence, baselines: Sequence[Baseline] = (), **options: object) -> Audit:
    return audit(given, baselines, bootstrap=50, **options)  # type: ignore[arg-type]


def holds(interval: Interval, value: float) -> bool:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low <= value <= interval.high


# --- pairs -----------------------------------------------------------------------------------


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


# --- label and source ------------------------------------------------------------------------


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


# --- whole set and within source -------------------------------------------------------------


def shortcut(make_films: Films) -> Evidence:
    """A judge that knows the source, 45 of 60 positive against 15 of 60, and nothing else."""
    films = make_films(60, share=0.75, source="north")
    films += make_films(60, start=100, share=0.25, source="south")
    return evidence(trial(films, [0.8] * 60 + [0.2] * 60))


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


def network_trial(films: Sequence[FilmRow], **margins: Sequence[float]) -> Trial:
    made = {name: np.asarray(margin, dtype=float) for name, margin in margins.items()}
    return Trial("fold", None, None, Scores(tuple(films), LABELS, made))


def test_each_networks_temperature_goes_into_the_ensemble(make_films: Films) -> None:
    # Positive film: σ(4) and σ(-3), mean 0.51; with the first cooled to σ(1), mean 0.39. The
    # negative film has 0.5.
    given = evidence(network_trial(make_films(2), resnet34=[4, 0], resnet50=[-3, 0]))
    cooled = audited(given, temperatures=[{"resnet34": 4.0}])
    assert audited(given).skill.whole.roc_auc.value == 1.0
    assert cooled.skill.whole.roc_auc.value == 0.0


def test_ensemble_is_of_the_networks_that_every_trial_has(make_films: Films) -> None:
    both = network_trial(make_films(2), resnet34=[1, 0], resnet50=[-9, 9])
    one = network_trial(make_films(2, start=10), resnet34=[1, 0])
    assert audited(evidence(both, one)).skill.whole.roc_auc.value == 1.0


def test_one_network_can_be_audited_instead_of_the_ensemble(make_films: Films) -> None:
    given = evidence(network_trial(make_films(2), resnet34=[9, 0], densenet121=[0, 1]))
    found = audited(given, network="densenet121")
    assert (found.judged, found.skill.whole.roc_auc.value) == ("densenet121", 0.0)


def test_nothing_to_audit_is_refused(make_films: Films) -> None:
    given = evidence(trial(make_films(4), np.full(4, 0.5)))
    with pytest.raises(ValueError, match="densenet121"):
        audited(given, network="densenet121")
    with pytest.raises(ValueError, match="2 sets of temperatures, 1 trials"):
        audited(given, temperatures=({}, {}))


# --- baselines -------------------------------------------------------------------------------


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


# --- blanked films ---------------------------------------------------------------------------


def test_blanked_films_give_auc_loss_and_the_share_of_skill_that_is_kept(
    make_films: Films,
) -> None:
    films = make_films(4, source="north")
    # Whole films: 4 of 4 pairs right. Blanked: positives 0.9, 0.2 against 0.3, 0.1 → 3 of 4.
    blanked = {"only_border": {"resnet50": logit(np.array([0.9, 0.2, 0.3, 0.1]))}}
    given = evidence(trial(films, [0.9, 0.8, 0.2, 0.1], blanked=blanked))
    no_lungs, _, border = audited(given).interventions
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


# --- heatmaps --------------------------------------------------------------------------------


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


# --- embedding -------------------------------------------------------------------------------


def two_sources(
    make_films: Films, shares: tuple[float, float] = (0.5, 0.5), count: int = 60
) -> list[FilmRow]:
    films = make_films(count, share=shares[0], source="north")
    return films + make_films(count, start=1000, share=shares[1], source="south")


def embedded(films: Sequence[FilmRow], embedding: Floats) -> Evidence:
    return evidence(trial(films, np.full(len(films), 0.5), embedding=embedding.astype(np.float32)))


def test_source_written_into_the_embedding_is_found_within_each_label(make_films: Films) -> None:
    films = two_sources(make_films)
    embedding = np.random.default_rng(0).normal(size=(120, 8))
    embedding[:60] += 3
    found = audited(embedded(films, embedding)).embedding
    assert [one.films for one in found] == ["all", "normal", "tb"]
    for one in found:
        assert one.roc_auc.value == pytest.approx(1.0, abs=0.02)


def test_embedding_without_the_source_tells_it_no_better_than_chance(make_films: Films) -> None:
    films = two_sources(make_films)
    found = audited(embedded(films, np.random.default_rng(0).normal(size=(120, 8)))).embedding
    assert all(holds(one.roc_auc, 0.5) for one in found)


def test_label_that_goes_with_the_source_is_not_taken_for_it_within_a_label(
    make_films: Films,
) -> None:
    films = two_sources(make_films, (0.8, 0.2), count=200)
    truth = np.array([film.label == "tb" for film in films])
    embedding = np.random.default_rng(0).normal(size=(400, 8)) + 4.0 * truth[:, None]
    everything, normal, tb = audited(embedded(films, embedding)).embedding
    assert everything.roc_auc.low is not None
    assert everything.roc_auc.low > 0.6
    assert holds(normal.roc_auc, 0.5)
    assert holds(tb.roc_auc, 0.5)


def test_patient_whose_films_look_alike_does_not_tell_the_source(make_films: Films) -> None:
    # Each patient has a look of their own and ten films; looks say nothing of the source.
    films = [
        replace(film, patient_id=f"{film.source}-{i % 60 // 10}")
        for i, film in enumerate(two_sources(make_films))
    ]
    look = np.random.default_rng(2).normal(size=(12, 16)).repeat(10, axis=0)
    everything = audited(embedded(films, look)).embedding[0]
    assert everything.roc_auc.value is not None
    assert everything.roc_auc.value < 0.8  # by films it would be 1: each has nine twins


def test_source_of_too_few_films_is_left_out(make_films: Films) -> None:
    films = make_films(60, source="north") + make_films(9, start=100, source="south")
    found = audited(embedded(films, np.zeros((69, 4)))).embedding[0]
    assert (found.trials, found.roc_auc.value) == (0, None)
    assert "two sources of at least 10 films" in (found.roc_auc.reason or "")


# --- all of it -------------------------------------------------------------------------------


def test_sources_that_the_networks_never_learnt_from_are_named(make_films: Films) -> None:
    def scores(films: Sequence[FilmRow]) -> Scores:
        return trial(films, np.full(len(films), 0.5)).test

    test = make_films(4, source="north") + make_films(4, start=10, source="abroad")
    train = make_films(4, start=20, source="north")
    known = Trial("run", scores(train), None, scores(test))
    assert audited(evidence(known)).new_sources == ("abroad",)
    assert audited(evidence(replace(known, train=None))).new_sources is None
    by_validation = replace(known, validation=scores(make_films(2, start=30, source="abroad")))
    assert audited(evidence(by_validation)).new_sources == ()


def test_audit_is_plain_json_without_nan_and_the_same_twice(
    make_folds: Callable[..., Evidence], make_films: Films
) -> None:
    given = make_folds(two_sources(make_films))
    baselines = (Baseline("view", None, "the manifest does not state it"),)
    first, again = (
        json.dumps(asdict(audited(given, baselines, seed=5)), allow_nan=False) for _ in range(2)
    )
    assert first == again


def test_films_of_one_class_give_an_audit_without_aucs(make_films: Films) -> None:
    found = audited(evidence(trial(make_films(20, share=1, source="north"), np.full(20, 0.5))))
    assert found.skill.whole.roc_auc.value is None
    assert (found.positives, found.negatives) == (20, 0)
    json.dumps(asdict(found), allow_nan=False)
