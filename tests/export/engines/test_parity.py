"""How engines are compared with the fp32 graphs, and that fp16 is within the bars."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import onnx
import pytest

from cxrclient.passports import Parity
from cxrexport.engines.parity import OnnxGraphs, compare, judge_films
from cxrexport.engines.precision import emulated, mixed_precision
from cxrexport.preprocessing import preprocess
from cxrexport.repository import GRAPHS, read_repository

DATA = Path(__file__).parents[4] / "shared" / "data"


def answers(probability=0.4, member=0.4, embedding=(1.0, 0.0), lungs=0.5, heat=0.5):
    """What the ensemble says of one film, the tensors as small as can be."""
    return {
        "PROBABILITY": np.array([[probability]], np.float32),
        "MEMBERS": np.array([[probability, probability, probability, member]], np.float32),
        "EMBEDDING": np.array([embedding], np.float32),
        "LUNGS": np.array([[[[lungs]]]], np.float32),
        "HEATMAP": np.array([[[heat]]], np.float32),
    }


def test_equal_answers_differ_by_nothing() -> None:
    parity = compare([answers()], [answers()], 0.5)
    assert parity == Parity(1, 0.0, 0.0, 1.0, 0.0, 0.0, 0)
    assert parity.passed


def test_the_worst_film_of_each_tensor_counts() -> None:
    reference = [answers(), answers()]
    found = [
        answers(probability=0.404, embedding=(3.0, 4.0)),
        answers(member=0.5, lungs=0.25, heat=0.75),
    ]
    parity = compare(reference, found, 0.5)
    assert parity.probability == pytest.approx(0.004, rel=1e-4)
    assert parity.members == pytest.approx(0.1, rel=1e-4)
    assert parity.embedding_cosine == pytest.approx(0.6)
    assert (parity.lungs, parity.heatmap, parity.films) == (0.25, 0.25, 2)


def test_a_film_that_crosses_the_threshold_is_counted() -> None:
    parity = compare([answers(0.4), answers(0.4)], [answers(0.42), answers(0.38)], 0.41)
    assert parity.labels_changed == 1


@pytest.mark.parametrize(
    ("probability", "cosine", "passed"),
    [
        (5e-3, 0.999, True),
        (5.1e-3, 1.0, False),
        (0.0, 0.9989, False),
        (float("nan"), 1.0, False),
        (0.0, float("nan"), False),
    ],
)
def test_the_bars_are_those_of_the_project(probability, cosine, passed) -> None:
    assert Parity(1, probability, 0.0, cosine, 0.0, 0.0, 0).passed is passed


def test_one_nan_anywhere_fails() -> None:
    found = [answers(), answers(probability=float("nan"))]
    assert not compare([answers(), answers()], found, 0.5).passed


def test_embeddings_of_zero_are_equal_to_each_other_only() -> None:
    zero = answers(embedding=(0.0, 0.0))
    assert compare([zero], [zero], 0.5).embedding_cosine == 1.0
    assert compare([zero], [answers()], 0.5).embedding_cosine == 0.0


def test_fp16_is_within_the_bars_on_real_films(model_repository) -> None:
    """A few of each collection; docs/adr/0012 has more."""
    if not DATA.is_dir():
        pytest.skip("no films in ../shared/data")
    spec = read_repository(model_repository)[0]
    paths = []
    for collection in ("covid-cxr", "tb-lungs"):
        with (DATA / collection / "metadata.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        chosen = np.linspace(0, len(rows) - 1, 3).astype(int)
        paths += [DATA / collection / "images" / rows[i]["image"] for i in chosen]
    films = np.stack([preprocess(path.read_bytes(), spec.preprocessing).image for path in paths])
    models = {g: onnx.load(model_repository / g / "1" / "model.onnx") for g in GRAPHS}
    exact = OnnxGraphs({g: model.SerializeToString() for g, model in models.items()})
    rounded = OnnxGraphs(
        {g: emulated(mixed_precision(m, "fp16")).SerializeToString() for g, m in models.items()}
    )
    reference = judge_films(exact, spec, films)
    parity = compare(reference, judge_films(rounded, spec, films), spec.threshold)
    assert np.ptp([film["PROBABILITY"] for film in reference]) > 0.1  # or it would say little
    assert 0 < parity.probability <= 1e-3  # a fifth of the bar
    assert parity.embedding_cosine >= 0.9999
    assert parity.labels_changed == 0
