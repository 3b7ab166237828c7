"""Films of a day are held against those before, and against the training films."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from cxrclient.errors import NodeError, UsageError
from cxrclient.node.watch import drift as module
from cxrclient.node.watch.drift import Drift


def test_each_day_has_its_own_quartiles_as_numpy_gives_them(spool, finish):
    random = np.random.default_rng(1)
    days = {0: random.random(7), 1: random.random(4), 5: random.random(1)}
    for days_ago, values in days.items():
        for number, value in enumerate(values):
            finish(f"1.{days_ago}.{number}", float(value), days_ago=days_ago)

    told = Drift(spool).by_day()

    today = date.today()
    assert [day["day"] for day in told] == [str(today - timedelta(days=n)) for n in (5, 1, 0)]
    for day, values in zip(told, reversed(days.values()), strict=True):
        assert day["films"] == len(values)
        assert day["share_positive"] == pytest.approx((values > 0.5).mean())
        expected = [values.mean(), *np.quantile(values, (0.25, 0.5, 0.75))]
        found = [day["probability"][name] for name in ("mean", "q25", "median", "q75")]
        assert found == pytest.approx(expected)


def test_films_that_the_gate_turned_away_are_counted_by_code(spool, finish):
    finish("1.1", 0.5)
    for number, code in enumerate(("LATERAL", "LATERAL", "NOT_CHEST")):
        finish(f"1.2.{number}", code=code)

    (day,) = Drift(spool).by_day()

    assert day["films"] == 4
    assert day["probability"]["films"] == 1
    assert day["turned_away"] == {"LATERAL": 2, "NOT_CHEST": 1}


def test_no_day_is_older_than_asked_for(spool, finish):
    finish("1.1", 0.5, days_ago=3)

    assert Drift(spool).by_day(3) == []
    assert len(Drift(spool).by_day(4)) == 1


def test_today_is_not_among_the_weeks_before(spool, finish):
    finish("1.1", 0.2, days_ago=1)
    finish("1.2", 0.4, days_ago=20)
    finish("1.3", 0.9)
    finish("1.4", 0.9, days_ago=40)
    drift = Drift(spool)

    assert drift.today()["probability"]["median"] == pytest.approx(0.9)
    assert drift.before()["films"] == 2
    assert drift.before()["probability"]["median"] == pytest.approx(0.3)


def test_a_spool_without_films_has_no_drift(spool):
    assert (Drift(spool).by_day(), Drift(spool).today(), Drift(spool).before()) == ([], None, None)


def test_a_distance_is_the_euclidean_one_to_the_nearest_training_film(spool, reference):
    random = np.random.default_rng(2)
    train = random.normal(size=(300, 128)).astype(np.float32)
    drift = Drift(spool, reference(train))

    for film in random.normal(size=(5, 128)).astype(np.float32):
        expected = np.linalg.norm(train - film, axis=1).min()
        assert drift.distance(film.tolist()) == pytest.approx(float(expected), rel=1e-5)
    assert drift.distance(train[7]) == 0.0


def test_the_yardstick_is_each_training_film_to_the_nearest_other_one(
    spool, reference, monkeypatch
):
    monkeypatch.setattr(module, "_AT_ONCE", 7)
    train = np.random.default_rng(3).normal(size=(40, 128)).astype(np.float32)
    apart = np.linalg.norm(train[:, None] - train[None], axis=2)
    np.fill_diagonal(apart, np.inf)

    told = Drift(spool, reference(train)).about_reference()

    assert told["films"] == 40
    expected = np.quantile(apart.min(axis=1), (0.5, 0.9))
    assert [told["distance"]["median"], told["distance"]["q90"]] == pytest.approx(
        expected, rel=1e-4
    )
    assert "code" not in told


def test_the_median_distance_of_a_day_is_told(spool, finish, reference):
    for number, distance in enumerate((0.1, 0.2, 0.6)):
        finish(f"1.{number}", 0.5, distance=distance)

    (day,) = Drift(spool, reference(np.eye(3, 128))).by_day()

    assert day["distance"]["median"] == pytest.approx(0.2)


def test_another_models_training_films_are_no_measure_and_that_is_told(
    spool, finish, reference, caplog
):
    other = "b" * 64
    finish("1.1", 0.5, model=other, distance=3.0)
    drift = Drift(spool, reference(np.eye(3, 128)))

    assert drift.distance(np.zeros(128), other) is None
    assert drift.distance(np.zeros(128), "a" * 64) == pytest.approx(1.0)
    assert drift.about_reference()["code"] == "REFERENCE_OTHER_MODEL"
    assert drift.by_day()[0]["distance"] is None
    assert drift.by_day()[0]["models"] == [other]
    with pytest.raises(NodeError, match="another model"):
        drift.require_model(other)
    drift.require_model("a" * 64)
    assert caplog.text.count("REFERENCE_OTHER_MODEL") == 1, "once is enough"


def test_a_reference_that_is_none_is_refused_with_what_to_do(spool, tmp_path, reference):
    with pytest.raises(UsageError, match="Cannot read"):
        Drift(spool, tmp_path / "none.jsonl")
    path = reference(np.eye(3, 128))
    path.write_text(path.read_text().replace('"embedding"', '"nothing"'))
    with pytest.raises(UsageError, match="embeddings"):
        Drift(spool, path)
    path = reference(np.eye(3, 128))
    path.write_text(path.read_text().replace("[1.0, ", "[", 1))
    with pytest.raises(UsageError, match="embedding that is none"):
        Drift(spool, path)


def test_without_a_reference_no_distance_is_measured(spool):
    assert Drift(spool).distance(np.zeros(128)) is None
    assert Drift(spool).about_reference() is None
