"""Trivial baselines: what they see, what they learn from, and when they are absent."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrclient.errors import NotReadable
from cxrexport.datasets import read_tb_lungs
from cxrexport.evaluation.audit.baselines import (
    Baseline,
    aspect_ratios,
    source_alone,
    thumbnails,
    trivial_baselines,
)
from cxrexport.evaluation.scores import Evidence, Scores, Trial
from cxrexport.manifest import FilmRow

LABELS = ("normal", "tb")
ROOT = Path(__file__).parents[4]
TB_LUNGS = ROOT.parent / "shared" / "data" / "tb-lungs"


def scored(films: Sequence[FilmRow], labels: tuple[str, str] = LABELS) -> Scores:
    return Scores(tuple(films), labels, {"resnet50": np.zeros(len(films))})


def one_trial(
    train: Sequence[FilmRow], validation: Sequence[FilmRow] | None, test: Sequence[FilmRow]
) -> Evidence:
    chosen_by = None if validation is None else scored(validation)
    return Evidence(LABELS, (Trial("fold 1", scored(train), chosen_by, scored(test)),), folds=True)


def every_film(evidence: Evidence) -> list[FilmRow]:
    films: dict[Path, FilmRow] = {}
    for trial in evidence.trials:
        for part in (trial.train, trial.validation, trial.test):
            films |= {film.image: film for film in (part.films if part else ())}
    return list(films.values())


def baseline(name: str, evidence: Evidence, ratio: np.ndarray | None = None) -> Baseline:
    found = trivial_baselines(evidence, every_film(evidence), None, ratio)
    return next(one for one in found if one.name == name)


@pytest.fixture
def aged(make_film: Callable[..., FilmRow]) -> Callable[..., list[FilmRow]]:
    """Films of 40, the positive ones older by `gap` years."""

    def make(start: int, gap: float, count: int = 20) -> list[FilmRow]:
        return [
            make_film(start + i, positive=i % 2 == 1, age=40 + i / 10 + gap * (i % 2))
            for i in range(count)
        ]

    return make


# --- what they see ---------------------------------------------------------------------------


def test_thumbnail_is_the_mean_of_each_block_of_the_whole_film(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(1, 255, (72, 48), dtype=np.uint8)
    pixels[0, 0], pixels[0, 1] = 0, 255  # the decoder spreads the film's own range over 0..1
    assert cv2.imwrite(str(tmp_path / "film.png"), pixels)
    row = FilmRow(image=tmp_path / "film.png", patient_id="p", label="tb")
    blocks = pixels.reshape(24, 3, 24, 2).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(thumbnails([row])[0], blocks.ravel(), atol=1e-4)


def test_aspect_ratio_is_width_over_height_of_png_jpeg_and_dicom(
    tmp_path: Path, write_dicom: Callable[..., Path]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90), dtype=np.uint8)
    files = [tmp_path / "a.png", tmp_path / "b.jpg"]
    for file in files:
        assert cv2.imwrite(str(file), pixels)
    files.append(write_dicom(tmp_path / "c.dcm", pixels.T.astype(np.uint16)))
    rows = [FilmRow(image=file, patient_id="p", label="tb") for file in files]
    assert aspect_ratios(rows).tolist() == pytest.approx([1.5, 1.5, 2 / 3])


@pytest.mark.parametrize("look", [thumbnails, aspect_ratios])
def test_film_that_cannot_be_read_is_named(look: Callable[..., object], tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(NotReadable, match=r"broken\.png"):
        look([FilmRow(image=tmp_path / "broken.png", patient_id="p", label="tb")])


def test_progress_is_told_of_each_film(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "a.png"), np.arange(2500, dtype=np.uint8).reshape(50, 50))
    told: list[int] = []
    row = FilmRow(image=tmp_path / "a.png", patient_id="p", label="tb")
    assert thumbnails([row, row], lambda: told.append(1)).shape == (2, 576)
    assert len(told) == 2


# --- what they learn -------------------------------------------------------------------------


def test_age_that_separates_the_classes_is_learnt_from_training_and_applied_to_test(
    aged: Callable[..., list[FilmRow]],
) -> None:
    evidence = one_trial(aged(0, 30), None, aged(100, 30))
    probability = baseline("age", evidence).probability
    assert probability is not None
    assert roc_auc_score(evidence.pooled.truth, probability) == 1.0


def test_validation_films_are_learnt_from_too(aged: Callable[..., list[FilmRow]]) -> None:
    misleading, telling = aged(0, -30, 4), aged(50, 30, 40)
    evidence = one_trial(misleading, telling, aged(100, 30))
    probability = baseline("age", evidence).probability
    assert probability is not None
    assert roc_auc_score(evidence.pooled.truth, probability) == 1.0


def test_labels_of_test_films_are_never_looked_at(aged: Callable[..., list[FilmRow]]) -> None:
    test = aged(100, 30)
    turned = [replace(film, label=LABELS[film.label == "normal"]) for film in test]
    before = baseline("age", one_trial(aged(0, 30), None, test)).probability
    after = baseline("age", one_trial(aged(0, 30), None, turned)).probability
    assert before is not None
    np.testing.assert_array_equal(before, after)


def test_thumbnails_are_found_by_their_film_whatever_the_order(
    aged: Callable[..., list[FilmRow]],
) -> None:
    evidence = one_trial(aged(0, 0), None, aged(100, 0))
    films = every_film(evidence)
    greys = np.random.default_rng(0).random((len(films), 576), dtype=np.float32)
    greys[:, :90] += 2.0 * np.array([film.label == "tb" for film in films])[:, None]
    (first, *_) = trivial_baselines(evidence, films, greys, None)
    (again, *_) = trivial_baselines(evidence, films[::-1], greys[::-1], None)
    assert first.probability is not None
    np.testing.assert_array_equal(first.probability, again.probability)
    assert roc_auc_score(evidence.pooled.truth, first.probability) > 0.9


def test_square_films_are_told_from_upright_and_wide_ones(
    make_films: Callable[..., list[FilmRow]],
) -> None:
    evidence = one_trial(make_films(40), None, make_films(40, start=100))
    truth = np.array([film.label == "tb" for film in every_film(evidence)])
    other = np.where(np.arange(len(truth)) % 2 == 0, 0.8, 1.25)
    probability = baseline("aspect_ratio", evidence, np.where(truth, 1.0, other)).probability
    assert probability is not None
    assert roc_auc_score(evidence.pooled.truth, probability) == 1.0


def test_missing_view_and_age_count_as_values_of_their_own(
    make_films: Callable[..., list[FilmRow]],
) -> None:
    # Only positive films state them, always alike: what is left out gives the label away.
    def films(start: int) -> list[FilmRow]:
        return [
            replace(film, view="AP", age=50.0) if film.label == "tb" else film
            for film in make_films(20, start=start)
        ]

    evidence = one_trial(films(0), None, films(100))
    for name in ("view", "age"):
        probability = baseline(name, evidence).probability
        assert probability is not None
        assert roc_auc_score(evidence.pooled.truth, probability) == 1.0


def test_view_never_seen_in_training_is_no_error(make_films: Callable[..., list[FilmRow]]) -> None:
    train = make_films(10, view="AP") + make_films(10, start=20, view="PA")
    test = [*make_films(4, start=100, view="LORDOTIC"), *make_films(4, start=200, view="AP")]
    probability = baseline("view", one_trial(train, None, test)).probability
    assert probability is not None
    assert np.isfinite(probability).all()


def test_source_alone_gives_each_film_its_sources_share_of_positives_in_order(
    make_films: Callable[..., list[FilmRow]],
) -> None:
    train = [
        film
        for k, (source, share) in enumerate((("north", 0.9), ("south", 0.5), ("west", 0.1)))
        for film in make_films(40, start=100 * k, share=share, source=source)
    ]
    test = [make_films(1, start=900 + k, source=s)[0] for k, s in enumerate(("west", "north"))]
    probability = source_alone(one_trial(train, None, test)).probability
    assert probability is not None
    assert probability[0] < 0.3
    assert probability[1] > 0.7


def test_trials_follow_one_another_as_in_the_pooled_scores(
    make_folds: Callable[..., Evidence], aged: Callable[..., list[FilmRow]]
) -> None:
    evidence = make_folds(aged(0, 30, count=60), networks=("resnet50",))
    probability = baseline("age", evidence).probability
    assert probability is not None
    assert roc_auc_score(evidence.pooled.truth, probability) == 1.0


# --- when they are absent --------------------------------------------------------------------


def test_column_that_the_manifest_lacks_makes_a_baseline_absent(
    make_folds: Callable[..., Evidence], make_films: Callable[..., list[FilmRow]]
) -> None:
    evidence = make_folds(make_films(30))
    for name in ("view", "age"):
        found = baseline(name, evidence)
        assert (found.probability, found.reason) == (None, "the manifest does not state it")


def test_value_that_is_the_same_for_every_film_makes_a_baseline_absent(
    make_folds: Callable[..., Evidence], make_films: Callable[..., list[FilmRow]]
) -> None:
    evidence = make_folds(make_films(30, view="AP"))
    assert baseline("view", evidence).reason == "it is the same for every film"
    ratio = baseline("aspect_ratio", evidence, np.ones(30))
    assert (ratio.probability, ratio.reason) == (None, "it is the same for every film")


def test_training_films_that_were_not_scored_make_a_baseline_absent(
    aged: Callable[..., list[FilmRow]],
) -> None:
    evidence = Evidence(LABELS, (Trial("run", None, None, scored(aged(0, 30))),), folds=True)
    assert baseline("age", evidence).reason == "the training films of run were not scored"


def test_training_films_of_one_class_make_a_baseline_absent(
    aged: Callable[..., list[FilmRow]], make_films: Callable[..., list[FilmRow]]
) -> None:
    evidence = one_trial(make_films(5, share=0, age=40.0), None, aged(100, 30))
    reason = baseline("age", evidence).reason
    assert reason == "the training films of fold 1 have one class only"


# --- on real films ---------------------------------------------------------------------------


@pytest.mark.skipif(not TB_LUNGS.is_dir(), reason="needs ../shared/data/tb-lungs")
def test_thumbnail_reaches_the_auc_known_of_tb_lungs() -> None:
    """Measured before this code was there: 0.84, Shenzhen 0.87, Montgomery 0.71."""
    with (ROOT / "benchmarks" / "folds" / "tb-lungs.csv").open() as lines:
        fold = {row["patient_id"]: row["fold"] for row in csv.DictReader(lines)}
    rows = read_tb_lungs(TB_LUNGS)
    trials = []
    for name in sorted(set(fold.values())):
        train, test = (
            [row for row in rows if (fold[row.patient_id] == name) == held]
            for held in (False, True)
        )
        trials.append(Trial(name, scored(train), None, scored(test)))
    evidence = Evidence(LABELS, tuple(trials), folds=True)
    (found, *_) = trivial_baselines(evidence, rows, thumbnails(rows), None)
    assert found.probability is not None
    truth, source = evidence.pooled.truth, np.array([f.source for f in evidence.pooled.films])
    assert roc_auc_score(truth, found.probability) == pytest.approx(0.84, abs=0.015)
    for name, known in (("nlm-shenzhen", 0.87), ("nlm-montgomery", 0.71)):
        here = source == name
        area = roc_auc_score(truth[here], found.probability[here])
        assert area == pytest.approx(known, abs=0.04)
