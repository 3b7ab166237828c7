"""The gate's pure functions: what is measured on a film, and what is made of it."""

from __future__ import annotations

import dataclasses
import json

import cv2
import numpy as np
import pytest

from cxrexport.admission import (
    CODES,
    Chest,
    Reference,
    admission_flags,
    find_writing as writing_in,
    fit_reference,
    grey_copy,
    has_rectangle,
    look,
    reduced,
)
from cxrexport.admission.chest import chest_weights, vector
from cxrexport.admission.features import NAMES, Picture, measure
from cxrexport.admission.gate import chest_codes
from cxrexport.admission.header import header_codes

SIZE = 320
REFERENCE = Reference(
    chest_threshold=-1.0,
    chest_clear=2.0,
    centres=np.zeros((2, 4), np.float32),
    farthest=1.5,
    false_alarm_rate=0.01,
    model_digest="d" * 64,
    films=200,
    patients=150,
    sources={"here": 200},
)
NEAR = np.array([0.0, 0, 0, 1.5], np.float32)
CHEST = Chest(score=3.0, likeness=0.8, lungs=0.25, two_lungs=True)


def chest_film(size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A bright body with two dark lungs, narrow above, and the map of the lungs."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    width = 0.2 + 0.06 * (y + 0.6)
    lungs = np.zeros((size, size), np.float32)
    for centre in (-0.42, 0.42):
        lungs[((x - centre) / width) ** 2 + ((y + 0.1) / 0.62) ** 2 < 1] = 1
    film = np.clip(0.55 + 0.3 * (y + 0.3) - 0.4 * x**2, 0, 1)
    film = np.where(lungs > 0, 0.3, film + 0.25 * (np.abs(x) < 0.15))
    return np.clip(film, 0, 1).astype(np.float32), cv2.GaussianBlur(lungs, (0, 0), 2)


# --- features --------------------------------------------------------------------------------


def test_features_of_two_bars_are_what_a_ruler_says():
    film, lungs = np.full((64, 64), 0.8, np.float32), np.zeros((64, 64), np.float32)
    for columns in (slice(8, 24), slice(40, 56)):
        lungs[16:48, columns] = 1
        film[16:48, columns] = 0.2
    found = dict(zip(NAMES, measure(Picture(film, lungs, np.ones((64, 64), bool))), strict=True))
    expected = {
        "lungs": 2 * 16 * 32 / 64**2,
        "unsure": 0,
        "in_two": 1,
        "balance": 1,
        "level": 0,
        "apart": 32 / 64,
        "left_of_middle": 0,
        "height": 32 / 64,
        "tall": 2,
        "mirrored": 1,
        "narrow_top": 1,
        "top_room": 16 / 64,
        "bottom_room": 16 / 64,
        "cut_off": 0,
        "lung_brightness": 0.2,
        "between_brighter": 0.6,
        "beside_brighter": 0.6,
        "below_brighter": 0.6,
        "above_brighter": 0.6,
        "lung_spread": 0,
        "film_mirrored": 1,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_padding_is_no_part_of_the_film():
    film, lungs = chest_film()
    film[:, :80] = film[:, -80:] = 0
    picture = reduced(film, lungs)
    assert picture.shown.sum(axis=1).tolist() == [32] * 64
    assert measure(picture)[NAMES.index("dark")] == 0


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_film_of_one_value_and_an_empty_map_have_finite_features(value):
    empty = np.zeros((SIZE, SIZE), np.float32)
    assert np.isfinite(vector(reduced(empty + np.float32(value), empty))).all()


@pytest.mark.parametrize("shapes", [((8, 8), (8, 9)), ((8, 9), (8, 9)), ((1, 8, 8), (1, 8, 8))])
def test_maps_that_are_no_equal_squares_are_refused(shapes):
    with pytest.raises(ValueError, match="not two equal squares"):
        reduced(*(np.zeros(shape, np.float32) for shape in shapes))


def test_the_score_hardly_depends_on_the_size_of_the_square():
    small, large = (look(reduced(*chest_film(size))) for size in (320, 1024))
    assert small.score == pytest.approx(large.score, abs=0.3)


def test_the_weights_are_one_for_each_feature():
    weights = chest_weights()
    assert weights.mean.shape == weights.spread.shape == weights.weights.shape == (len(NAMES) + 64,)
    assert weights.spread.min() > 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda a: a[::-1, ::-1],
        lambda a: np.rot90(a),
        lambda a: cv2.resize(a[160:, 100:260], (SIZE, SIZE)),
    ],
    ids=["upside down", "on its side", "crop"],
)
def test_a_film_that_is_turned_or_cropped_scores_far_below_the_upright_one(spoil):
    film, lungs = chest_film()
    spoilt = (np.ascontiguousarray(spoil(each)) for each in (film, lungs))
    assert look(reduced(*spoilt)).score < look(reduced(film, lungs)).score - 3


def test_an_inverted_film_is_unlike_the_mean_chest_film_by_as_much():
    film, lungs = chest_film()
    upright, inverted = (look(reduced(each, lungs)) for each in (film, 1 - film))
    assert upright.likeness > 0.5
    assert inverted.likeness == pytest.approx(-upright.likeness, abs=1e-4)


# --- what is made of it ----------------------------------------------------------------------


def codes(**changes: object) -> set[str]:
    return set(chest_codes(dataclasses.replace(CHEST, **changes), REFERENCE))  # type: ignore[arg-type]


def test_a_chest_film_gets_no_code():
    assert codes() == codes(score=-1.0) == set()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"score": -1.01}, {"NOT_A_CHEST_FILM"}),
        ({"score": -3, "two_lungs": False}, {"NOT_A_CHEST_FILM", "NO_LUNGS"}),
        ({"score": -3, "likeness": -0.5}, {"NOT_A_CHEST_FILM", "POLARITY_SUSPECT"}),
        ({"lungs": 0.04}, {"NO_LUNGS"}),
        ({"likeness": -0.5}, set()),
        ({"score": float("nan")}, {"NOT_A_CHEST_FILM"}),
    ],
)
def test_the_reason_follows_from_what_is_seen(changes, expected):
    assert codes(**changes) == expected


@pytest.mark.parametrize(
    ("flags", "clearly", "expected"),
    [
        (("NO_RADIOGRAPH", "MODALITY_OTHER"), True, ("WRONG_MODALITY",)),
        (("MODALITY_OTHER",), True, ()),
        (("MODALITY_OTHER",), False, ("WRONG_MODALITY",)),
        (("MODALITY_OTHER",), None, ()),
        (("BODY_PART_OTHER",), True, ()),
        (("BODY_PART_OTHER",), False, ("NOT_A_CHEST_FILM",)),
        (("BODY_PART_OTHER",), None, ("NOT_A_CHEST_FILM",)),
        (("VIEW_LATERAL",), True, ("LATERAL_VIEW",)),
        (("POLARITY_TURNED", "PADDED", "SECONDARY_CAPTURE"), False, ()),
    ],
)
def test_header_and_pixels_vote(flags, clearly, expected):
    assert header_codes(flags, clearly) == expected


def test_facts_stay_first_and_codes_follow_in_their_order():
    film, lungs = chest_film()
    found = admission_flags(
        ("POLARITY_TURNED", "NO_RADIOGRAPH", "VIEW_LATERAL"), film, lungs, NEAR + 1, REFERENCE
    )
    assert found[:3] == ("POLARITY_TURNED", "NO_RADIOGRAPH", "VIEW_LATERAL")
    order = [code.code for code in CODES]
    assert list(found[3:]) == sorted(found[3:], key=order.index)
    assert {"WRONG_MODALITY", "LATERAL_VIEW", "OUT_OF_DISTRIBUTION"} <= set(found)


@pytest.mark.parametrize(
    ("embedding", "far"),
    [(NEAR, False), (NEAR * 1.01, True), (NEAR * np.float32("nan"), True)],
    ids=["as far as allowed", "farther", "no number"],
)
def test_an_embedding_farther_than_the_threshold_is_out_of_distribution(embedding, far):
    film, lungs = chest_film()
    assert ("OUT_OF_DISTRIBUTION" in admission_flags((), film, lungs, embedding, REFERENCE)) == far


def test_without_a_reference_pixels_are_not_judged():
    noise = np.random.default_rng(0).random((SIZE, SIZE), np.float32)
    assert admission_flags((), noise, noise, NEAR + 9, None) == ()


# --- rectangles and writing in the served film -----------------------------------------------


@pytest.mark.parametrize("value", [0.0, 1.0], ids=["black", "white"])
def test_a_box_over_the_film_is_seen_even_where_clahe_bent_it(value):
    film, lungs = chest_film()
    film += np.random.default_rng(0).normal(0, 0.03, film.shape).astype(np.float32)
    film[150:200, 120:190] = value
    grey = (np.clip(film, 0, 1) * 255).astype(np.uint8)
    served = cv2.createCLAHE(2.0, (8, 8)).apply(grey).astype(np.float32) / 255
    assert has_rectangle(grey_copy(served))
    assert "RECTANGULAR_ARTEFACT" in admission_flags((), served, lungs, NEAR, None)


def test_a_film_without_a_box_has_none():
    assert not has_rectangle(grey_copy(chest_film()[0]))


@pytest.mark.parametrize("size", [320, 512, 1024])
@pytest.mark.parametrize("ink", [0.0, 1.0], ids=["dark", "bright"])
def test_a_line_of_letters_is_writing_and_a_single_letter_is_not(size, ink):
    def written(text: str) -> np.ndarray:
        film = np.full((size, size), 0.5, np.float32)
        scale = size / 400
        place = (size // 8, size // 2)
        cv2.putText(film, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, max(1, size // 200))
        return grey_copy(film)

    assert writing_in(written("PORTABLE"))
    assert not writing_in(written("L"))


# --- the reference ---------------------------------------------------------------------------


def fitted(rate: float = 0.02, films: int = 200) -> Reference:
    chance = np.random.default_rng(0)
    chests = [dataclasses.replace(CHEST, score=float(n)) for n in range(films)]
    embeddings = chance.normal(size=(films, 8)).astype(np.float32)
    patients = [f"p{n // 2}" for n in range(films)]
    return fit_reference(chests, embeddings, patients, {"here": films}, "d" * 64, rate)


def test_each_threshold_turns_the_stated_share_away():
    reference = fitted(0.02)
    assert sum(n < reference.chest_threshold for n in range(200)) == 4
    fresh = np.random.default_rng(1).normal(size=(4000, 8)).astype(np.float32)
    beyond = np.mean([reference.distance(each) > reference.farthest for each in fresh])
    assert 0.005 < beyond < 0.05


def test_nine_in_ten_films_are_clearly_chest_films():
    reference = fitted()
    assert sum(n > reference.chest_clear for n in range(200)) == 180


def test_a_reference_reads_back_and_says_nothing_of_a_patient():
    reference = fitted()
    content = reference.to_json()
    back = Reference.from_json(content)
    assert back.to_json() == content
    assert back.distance(np.zeros(8, np.float32)) == pytest.approx(
        reference.distance(np.zeros(8, np.float32)), abs=1e-3
    )
    assert back.films == 200
    assert back.patients == 100
    assert b'"p1"' not in content
    assert back.centres.shape == (32, 8)


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        json.dumps({"version": 2}).encode(),
        json.dumps({"version": 1, "centres": [1, 2]}).encode(),
        json.dumps({"version": 1, "centres": [[float("nan")]]}).encode(),
        json.dumps({"version": 1, "centres": [[1.0]], "surprise": 1}).encode(),
    ],
)
def test_what_is_no_reference_is_refused(content):
    with pytest.raises(ValueError, match=r"reference|version|rows|Expecting"):
        Reference.from_json(content)


def test_too_few_films_for_a_rare_share_are_refused():
    with pytest.raises(ValueError, match="at least 100"):
        fitted(films=99)
