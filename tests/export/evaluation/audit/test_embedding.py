"""How well the embedding tells a film's source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from cxrexport.evaluation.measures.intervals import Interval
from cxrexport.evaluation.scores import Evidence
from cxrexport.manifest import FilmRow
from made_up_evidence import Films, Floats, audited, evidence, trial, two_sources


def holds(interval: Interval, value: float) -> bool:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low <= value <= interval.high


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
