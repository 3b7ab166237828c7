"""Nearest films: who they are, what they say, and how far away they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy.special import logit
from sklearn.neighbors import NearestNeighbors

from cxrexport.evaluation.measures.metrics import figures
from cxrexport.evaluation.retrieval import nearest as nearest_module
from cxrexport.evaluation.retrieval.judged import retrieve
from cxrexport.evaluation.retrieval.nearest import search
from cxrexport.evaluation.scores import Evidence, Scores, Trial


@pytest.fixture
def line(make_film):
    """Scores of films on a line: positions (the embedding), labels, predictions, patients."""

    def make(
        start: int,
        positions: list[float],
        labels: str,
        predictions: list[float],
        patients: Sequence[str],
    ) -> Scores:
        films = [
            make_film(start + i, positive=label == "+", patient_id=patient)
            for i, (label, patient) in enumerate(zip(labels, patients, strict=True))
        ]
        return Scores(
            films=tuple(films),
            labels=("normal", "tb"),
            margins={"vgg16": logit(np.array(predictions))},
            embedding=np.array(positions, np.float32)[:, None],
        )

    return make


@pytest.fixture
def by_hand(line) -> Evidence:
    """Two queries at 0 (positive, of patient a) and 10 (negative, of patient z)."""
    train = line(0, [1, 2, 3, 9, 12, 14], "+-+--+", [0.9, 0.4, 0.8, 0.3, 0.2, 0.6], "abcdef")
    test = line(6, [0, 10], "+-", [0.7, 0.4], "az")
    return Evidence(test.labels, (Trial("run", train, None, test),), folds=False)


def test_the_neighbours_are_those_of_scikit_learn(make_films, make_scores) -> None:
    train, test = make_scores(make_films(60), seed=1), make_scores(make_films(20), seed=2)
    found = search(test, train, neighbours=4)
    exact = NearestNeighbors(n_neighbors=4, algorithm="kd_tree").fit(train.embedding)
    distance, index = exact.kneighbors(test.embedding)
    assert (found.index == index).all()
    assert found.distance == pytest.approx(distance)


def test_searching_in_parts_changes_nothing(make_films, make_scores, monkeypatch) -> None:
    train, test = make_scores(make_films(30), seed=1), make_scores(make_films(20), seed=2)
    whole = search(test, train, neighbours=4)
    monkeypatch.setattr(nearest_module, "QUERIES_AT_ONCE", 7)
    parts = search(test, train, neighbours=4)
    assert (parts.index == whole.index).all()
    assert asdict(parts.distances)["between"] == pytest.approx(asdict(whole.distances)["between"])


def test_equal_films_are_at_distance_zero_in_the_order_of_the_training_films(line) -> None:
    train = line(0, [5, 3, *[5] * 40], "+-" * 21, [0.5] * 42, ["a"] * 42)
    found = search(line(42, [5], "+", [0.5], "e"), train, neighbours=40)
    assert found.index.tolist() == [[0, *range(2, 41)]]
    assert found.distance.tolist() == [[0] * 40]


def test_a_query_is_judged_by_the_mean_of_its_neighbours_predictions(by_hand) -> None:
    found = retrieve(by_hand, neighbours=2)
    # Query at 0: films at 1 and 2, predictions 0.9 and 0.4: 0.65, right.
    # Query at 10: films at 9 and 12, predictions 0.3 and 0.2: 0.25, right.
    judged = found.judged["predictions"].figures
    assert asdict(judged.counts) == {
        "true_positive": 1,
        "false_negative": 0,
        "true_negative": 1,
        "false_positive": 0,
    }
    assert [round(example.score, 9) for example in found.examples] == [0.65, 0.25]


def test_their_labels_judge_too_and_half_positive_is_not_enough(by_hand) -> None:
    # Query at 0: films at 1 (+) and 2 (-): 0.5 is not above 0.5.
    judged = retrieve(by_hand, neighbours=2).judged["labels"].figures
    assert judged.counts.false_negative == 1


def test_distances_are_those_counted_by_hand(by_hand) -> None:
    found = retrieve(by_hand).distances
    positive = [1, 3, 14]  # from 0 to the positive films
    negative = [8, 1, 2]  # from 10 to the negative films at 2, 9, 12
    between = [2, 9, 12, 9, 7, 4]  # 0 to negative, 10 to positive (1, 3, 14)
    for spread, distances in (
        (found.positive_positive, positive),
        (found.negative_negative, negative),
        (found.between, between),
        (found.all, positive + negative + between),
        (found.nearest, [1, 1]),
    ):
        assert (spread.mean, spread.sd) == pytest.approx((np.mean(distances), np.std(distances)))
        assert (spread.least, spread.pairs) == (min(distances), len(distances))


def test_films_of_the_querys_own_patient_are_left_out_and_counted(by_hand) -> None:
    trial = retrieve(by_hand, neighbours=2).trials[0]
    # Patient a has the query at 0 and the film at 1; without it 2 and 3 judge: 0.6.
    assert (trial.same_patient_pairs, trial.same_patient_queries) == (1, 1)
    assert trial.distances_other_patients.nearest.mean == pytest.approx((2 + 1) / 2)
    assert trial.distances_other_patients.all.pairs == 11
    labels = trial.judged_other_patients["labels"].figures
    assert labels.counts.false_negative == 1


def test_a_query_whose_patient_has_all_training_films_is_not_judged(line) -> None:
    train = line(0, [1, 2], "+-", [0.9, 0.2], "aa")
    test = line(2, [0, 3, 4], "+-+", [0.7, 0.4, 0.6], "abc")
    evidence = Evidence(test.labels, (Trial("run", train, None, test),), folds=False)
    found = retrieve(evidence).judged_other_patients["predictions"]
    assert (found.figures.n, found.unjudged) == (2, 1)
    assert found.reason.startswith("without 1 of 3 queries")


def test_in_folds_each_neighbour_speaks_with_its_own_folds_prediction(
    make_films, make_folds
) -> None:
    evidence = make_folds(make_films(60), networks=["resnet50"], seed=4)
    tested = {
        film.image: p
        for trial in evidence.trials
        for film, p in zip(trial.test.films, trial.test.ensemble(), strict=True)
    }
    truth, score = [], []
    for trial in evidence.trials:
        exact = NearestNeighbors(n_neighbors=4).fit(trial.train.embedding)
        index = exact.kneighbors(trial.test.embedding, return_distance=False)
        score += [np.mean([tested[trial.train.films[i].image] for i in row]) for row in index]
        truth += list(trial.test.truth)
    patients = evidence.pooled.patients
    expected = figures(np.array(truth), np.array(score), seed=2, groups=patients)
    assert retrieve(evidence, seed=2).judged["out_of_fold"].figures == expected


def test_in_random_splits_it_is_the_mean_over_the_trials_that_tested_the_neighbour(
    line,
) -> None:
    a = line(0, [0], "+", [0.3], "a")  # tested twice: 0.9 and 0.3
    trials = (
        Trial("1", line(0, [0], "+", [0.99], "a"), None, line(1, [0], "+", [0.6], "b")),
        Trial("2", line(1, [0], "+", [0.99], "b"), None, a),
        Trial("3", line(1, [0], "+", [0.99], "b"), None, line(0, [0], "+", [0.9], "a")),
    )
    found = retrieve(Evidence(a.labels, trials, folds=False))
    assert found.trials[0].judged["out_of_fold"].figures.sensitivity.value == 1  # 0.6 > 0.5
    strict = retrieve(Evidence(a.labels, trials, folds=False), threshold=0.61)
    assert strict.trials[0].judged["out_of_fold"].figures.sensitivity.value == 0


def test_a_single_run_has_no_out_of_fold_predictions_and_says_why(by_hand) -> None:
    found = retrieve(by_hand).judged["out_of_fold"]
    assert (found.figures, found.reason) == (
        None,
        "no training film was tested in another trial",
    )


def test_without_embeddings_there_is_a_reason(by_hand) -> None:
    trial = by_hand.trials[0]
    found = retrieve(
        replace(by_hand, trials=(replace(trial, test=replace(trial.test, embedding=None)),))
    )
    assert "resnet50 was not trained" in found.reason
    assert (found.judged, found.distances, found.examples) == ({}, None, ())


def test_labels_still_judge_where_no_member_of_the_ensemble_was_trained(by_hand) -> None:
    trial = by_hand.trials[0]
    train, test = (
        replace(part, margins={"densenet121": part.margins["vgg16"]})
        for part in (trial.train, trial.test)
    )
    found = retrieve(replace(by_hand, trials=(Trial("run", train, None, test),)))
    assert found.judged["predictions"].reason == "no network of the ensemble was trained"
    assert found.judged["labels"].figures.n == 2


def test_the_examples_are_the_best_the_median_and_the_worst_of_each_class(line) -> None:
    train = line(0, [0, 10, 20], "+-+", [0.9, 0.1, 0.6], "abc")
    test = line(3, [1, 13, 9, 22, 11], "+++--", [0.8, 0.5, 0.3, 0.5, 0.2], "defgh")
    evidence = Evidence(test.labels, (Trial("run", train, None, test),), folds=False)
    found = retrieve(evidence, neighbours=1)
    chosen = [(e.positive, e.kind, e.index, e.neighbours[0].index) for e in found.examples]
    # Positive: at 1 (0.9, far 1), at 13 (0.1, far 3), at 9 (0.1, far 1).
    # Negative: at 22 (0.6, far 2), at 11 (0.1, far 1); the lower of two medians is 1: taken.
    assert chosen == [
        (True, "best", 0, 0),
        (True, "typical", 2, 1),
        (True, "worst", 1, 1),
        (False, "best", 4, 1),
        (False, "typical", 3, 2),
    ]


def test_retrieval_is_json_without_nan_and_the_same_each_time(make_films, make_folds) -> None:
    evidence = make_folds(make_films(45))
    texts = {json.dumps(asdict(retrieve(evidence)), allow_nan=False) for _ in range(2)}
    assert len(texts) == 1
