"""How engines are compared with the fp32 graphs, and that fp16 is within the bars."""

from __future__ import annotations

import csv
import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from cxrclient.serving.passports import Parity
from cxrexport.admission import Reference
from cxrexport.engines.films import parity_films
from cxrexport.engines.parity import compare, judge_films
from cxrexport.engines.precision import emulated, mixed_precision
from cxrexport.ensemble import DEFAULT_MEMBERS, Ensemble, OnnxGraphs, graphs_of
from cxrexport.preprocessing import preprocess
from cxrexport.repository import graph_files, read_repository
from cxrexport.repository.reference import REFERENCE

GRAPHS = graphs_of(DEFAULT_MEMBERS)

DATA = Path(__file__).parents[4] / "shared" / "data"


def answers(
    probability=0.4, member=0.4, embedding=(1.0, 0.0), lungs=(0.75, 0.25), heat=0.5, flags=()
):
    """What the ensemble says of one film, the tensors as small as can be."""
    return {
        "PROBABILITY": np.array([[probability]], np.float32),
        "MEMBERS": np.array([[probability, probability, probability, member]], np.float32),
        "EMBEDDING": np.array([embedding], np.float32),
        "LUNGS": np.array([[[lungs]]], np.float32),
        "HEATMAP": np.array([[[heat]]], np.float32),
        "FLAGS": np.array(flags, np.str_),
    }


def test_equal_answers_differ_by_nothing() -> None:
    parity = compare([answers()], [answers()], 0.5, real_films=1)
    assert parity == Parity(1, 0.0, 0.0, 1.0, 0.0, 0.0, 0, 1.0, 0, 1)
    assert parity.passed
    assert parity.complete


def test_the_worst_film_of_each_tensor_counts() -> None:
    reference = [answers(), answers()]
    found = [
        answers(probability=0.404, embedding=(3.0, 4.0)),
        answers(member=0.5, lungs=(0.75, 0.5), heat=0.75),
    ]
    parity = compare(reference, found, 0.5, 0)
    assert parity.probability == pytest.approx(0.004, rel=1e-4)
    assert parity.members == pytest.approx(0.1, rel=1e-4)
    assert parity.embedding_cosine == pytest.approx(0.6)
    assert (parity.lungs, parity.heatmap, parity.films) == (0.25, 0.25, 2)


def test_a_film_that_crosses_the_threshold_is_counted() -> None:
    parity = compare([answers(0.4), answers(0.4)], [answers(0.42), answers(0.38)], 0.41, 0)
    assert parity.labels_changed == 1


def test_a_film_of_which_the_gate_says_something_else_is_counted() -> None:
    reference = [answers(flags=("NO_LUNGS",)), answers(), answers(flags=("NO_LUNGS",))]
    found = [answers(), answers(), answers(flags=("NO_LUNGS",))]
    assert compare(reference, found, 0.5, 0).flags_changed == 1


@pytest.mark.parametrize(
    ("lungs", "dice"),
    [((0.9, 0.1), 1.0), ((0.9, 0.9), 2 / 3), ((0.1, 0.9), 0.0), ((0.1, 0.1), 0.0)],
)
def test_the_lungs_dice_is_of_the_worst_film(lungs, dice) -> None:
    parity = compare([answers(), answers()], [answers(lungs=lungs), answers()], 0.5, 0)
    assert parity.lungs_dice == pytest.approx(dice)


def test_films_without_lungs_on_both_sides_are_equal() -> None:
    empty = answers(lungs=(0.1, 0.2))
    assert compare([empty], [empty], 0.5, 0).lungs_dice == 1.0


BARS = {
    "at every bar": ({"probability": 5e-3, "embedding_cosine": 0.999, "lungs_dice": 0.995}, True),
    "probability": ({"probability": 5.1e-3}, False),
    "cosine": ({"embedding_cosine": 0.9989}, False),
    "lungs": ({"lungs_dice": 0.9949}, False),
    "a label": ({"labels_changed": 1}, False),
    "a flag": ({"flags_changed": 1}, False),
    "probability NaN": ({"probability": float("nan")}, False),
    "cosine NaN": ({"embedding_cosine": float("nan")}, False),
    "lungs NaN": ({"lungs_dice": float("nan")}, False),
    "measured before lungs and flags were": ({"lungs_dice": None, "flags_changed": None}, True),
}


@pytest.mark.parametrize("kind", BARS)
def test_the_bars_are_those_of_the_project(kind: str) -> None:
    changes, passed = BARS[kind]
    parity = replace(Parity(1, 0.0, 0.0, 1.0, 0.0, 0.0, 0, 1.0, 0, 1), **changes)
    assert parity.passed is passed


def test_one_nan_anywhere_fails() -> None:
    found = [answers(), answers(probability=float("nan"))]
    assert not compare([answers(), answers()], found, 0.5, 0).passed
    found = [answers(), answers(lungs=(0.75, float("nan")))]
    assert not compare([answers(), answers()], found, 0.5, 0).passed


def test_embeddings_of_zero_are_equal_to_each_other_only() -> None:
    zero = answers(embedding=(0.0, 0.0))
    assert compare([zero], [zero], 0.5, 0).embedding_cosine == 1.0
    assert compare([zero], [answers()], 0.5, 0).embedding_cosine == 0.0


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
    rounded = {g: emulated(mixed_precision(model, "fp16")) for g, model in models.items()}
    exact, in_fp16 = (
        Ensemble(OnnxGraphs({g: m.SerializeToString() for g, m in of.items()}), spec.members)
        for of in (models, rounded)
    )
    gate = Reference.from_json((model_repository / REFERENCE).read_bytes())
    reference = judge_films(exact, films, gate)
    found = judge_films(in_fp16, films, gate)
    parity = compare(reference, found, spec.threshold, len(films))
    assert np.ptp([film["PROBABILITY"] for film in reference]) > 0.1  # or it would say little
    assert 0 < parity.probability <= 1e-3  # a fifth of the bar
    assert parity.embedding_cosine >= 0.9999
    assert parity.lungs_dice >= 0.998  # two fifths of what the bar allows
    assert (parity.labels_changed, parity.flags_changed) == (0, 0)
    assert parity.passed


def test_the_gate_is_asked_with_the_repositorys_own_reference(model_repository) -> None:
    """A film turned by half is no chest film to it; without a reference it cannot tell."""
    spec = read_repository(model_repository)[0]
    film = np.rot90(parity_films(spec.preprocessing, 1).images, 2, axes=(2, 3)).copy()
    ensemble = Ensemble(OnnxGraphs(graph_files(model_repository, spec)), spec.members)
    gate = Reference.from_json((model_repository / REFERENCE).read_bytes())
    with_it, without = (judge_films(ensemble, film, each)[0]["FLAGS"] for each in (gate, None))
    assert "NOT_A_CHEST_FILM" in with_it
    assert "NOT_A_CHEST_FILM" not in without


def test_without_a_manifest_one_film_is_real_where_pydicom_data_is(model_repository) -> None:
    spec = read_repository(model_repository)[0].preprocessing
    films = parity_films(spec, 3)
    assert films.images.shape == (3, 1, spec.size_px, spec.size_px)
    assert films.real == (importlib.util.find_spec("data_store") is not None)
