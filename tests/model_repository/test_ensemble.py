"""The whole ensemble under the real Triton: what it answers, alone, in a batch, in company."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from cxrexport.ensemble import DEFAULT_MEMBERS, graphs_of
from cxrexport.repository import PREPROCESS, read_repository

GRAPHS = graphs_of(DEFAULT_MEMBERS)

OUTPUTS = (
    "PROBABILITY",
    "MEMBERS",
    "VOTES",
    "EMBEDDING",
    "HEATMAP",
    "LUNGS",
    "CXR",
    "GEOMETRY",
    "FLAGS",
)
NUMBERS = tuple(name for name in OUTPUTS if name != "FLAGS")
FILMS = 8


@dataclass(frozen=True)
class Ensemble:
    """Sends encoded films; `triton_server` is whatever the session serves."""

    client: triton.InferenceServerClient
    size_px: int

    def ask(self, *films: bytes) -> dict[str, np.ndarray]:
        image = triton.InferInput("IMAGE", [len(films), 1], "BYTES")
        image.set_data_from_numpy(np.array(films, dtype=np.object_).reshape(-1, 1))
        result = self.client.infer("cxr", [image])
        arrays = {name: result.as_numpy(name) for name in OUTPUTS}
        return {name: array for name, array in arrays.items() if array is not None}

    def refusal(self, *films: bytes) -> str:
        with pytest.raises(InferenceServerException) as raised:
            self.ask(*films)
        return str(raised.value.message())


@pytest.fixture(scope="module")
def ensemble(triton_server: Any) -> Any:
    spec, _, _ = read_repository(triton_server.repository)
    client = triton.InferenceServerClient(triton_server.grpc_address)
    yield Ensemble(client, spec.preprocessing.size_px)
    client.close()


@pytest.fixture(scope="module")
def films(drawn_film: Callable[..., np.ndarray]) -> list[bytes]:
    """Different films of different sizes, as 16-bit PNG."""
    drawn = (drawn_film(seed, rows=200 + 16 * seed) for seed in range(FILMS))
    return [bytes(cv2.imencode(".png", film * 16)[1]) for film in drawn]


@pytest.fixture(scope="module")
def one_by_one(ensemble: Ensemble, films: list[bytes]) -> list[dict[str, np.ndarray]]:
    return [ensemble.ask(film) for film in films]


def test_a_film_gets_every_output_in_its_shape_and_range(
    ensemble: Ensemble, one_by_one: list[dict[str, np.ndarray]]
) -> None:
    size = ensemble.size_px
    answer = one_by_one[0]
    assert {name: answer[name].shape for name in OUTPUTS} == {
        "PROBABILITY": (1, 1),
        "MEMBERS": (1, 4),
        "VOTES": (1, 1),
        "EMBEDDING": (1, 128),
        "HEATMAP": (1, size // 32, size // 32),
        "LUNGS": (1, 1, size, size),
        "CXR": (1, 1, size, size),
        "GEOMETRY": (1, 8),
        "FLAGS": (1, 1),
    }
    assert answer["VOTES"].dtype == np.int32
    for name in ("PROBABILITY", "MEMBERS", "LUNGS", "CXR", "HEATMAP"):
        assert answer[name].min() >= 0, name
        assert answer[name].max() <= 1, name
    assert answer["GEOMETRY"][0, :2].tolist() == [200, 200]
    assert isinstance(json.loads(answer["FLAGS"].item()), list)


def test_probability_and_votes_follow_from_the_members(
    one_by_one: list[dict[str, np.ndarray]],
) -> None:
    for answer in one_by_one:
        np.testing.assert_allclose(answer["PROBABILITY"], answer["MEMBERS"].mean(), atol=1e-6)
        assert answer["VOTES"].item() == (answer["MEMBERS"] > 0.5).sum()


def test_several_films_in_one_request_equal_one_by_one(
    ensemble: Ensemble, films: list[bytes], one_by_one: list[dict[str, np.ndarray]]
) -> None:
    together = ensemble.ask(*films)
    for name in NUMBERS:
        alone = np.concatenate([answer[name] for answer in one_by_one])
        np.testing.assert_allclose(together[name], alone, rtol=0, atol=1e-5, err_msg=name)


def test_films_sent_at_once_are_computed_one_by_one_and_equal_those_sent_alone(
    ensemble: Ensemble,
    films: list[bytes],
    one_by_one: list[dict[str, np.ndarray]],
    settled_counts: Any,
) -> None:
    before = {model: settled_counts(ensemble.client, model) for model in (*GRAPHS, PREPROCESS)}
    rounds = 4
    with ThreadPoolExecutor(FILMS) as pool:
        answers = list(pool.map(ensemble.ask, films * rounds))
    for answer, alone in zip(answers, one_by_one * rounds, strict=True):
        for name in NUMBERS:
            np.testing.assert_allclose(answer[name], alone[name], rtol=0, atol=1e-5, err_msg=name)
    for model in ("segment", "resnet152", "vgg16"):
        # Never so many where a model keeps films waiting for others (docs/adr/0013).
        expected = tuple(count + FILMS * rounds for count in before[model])
        assert settled_counts(ensemble.client, model, expected) == expected


def test_a_bad_film_among_others_fails_alone(
    ensemble: Ensemble, films: list[bytes], one_by_one: list[dict[str, np.ndarray]]
) -> None:
    sent = [*films[:3], films[3][:200], *films[4:]]

    def fate(film: bytes) -> dict[str, np.ndarray] | str:
        try:
            return ensemble.ask(film)
        except InferenceServerException as error:
            return str(error.message())

    with ThreadPoolExecutor(FILMS) as pool:
        fates = list(pool.map(fate, sent))
    for number, (answer, alone) in enumerate(zip(fates, one_by_one, strict=True)):
        if number == 3:
            assert isinstance(answer, str)
            assert "NOT_READABLE: " in answer
        else:
            assert isinstance(answer, dict)
            np.testing.assert_allclose(answer["PROBABILITY"], alone["PROBABILITY"], atol=1e-5)


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"", "NOT_READABLE"),
        (b"no film at all", "NOT_READABLE"),
        (bytes(cv2.imencode(".png", np.full((64, 64), 7, np.uint8))[1]), "CONSTANT"),
        (
            bytes(cv2.imencode(".png", np.arange(12288, dtype=np.uint8).reshape(64, 64, 3))[1]),
            "COLOUR",
        ),
    ],
    ids=["empty", "text", "constant", "colour"],
)
def test_a_bad_film_is_answered_with_a_code_and_a_sentence(
    ensemble: Ensemble, bad: bytes, code: str
) -> None:
    assert f"{code}: " in ensemble.refusal(bad)


def test_a_bad_film_inside_a_request_is_named_by_its_place(
    ensemble: Ensemble, films: list[bytes]
) -> None:
    assert "(film 2 of 3 in one request)" in ensemble.refusal(films[0], b"", films[1])


def test_the_server_tells_the_digest_of_the_repository_it_serves(
    ensemble: Ensemble, triton_server: Any
) -> None:
    _, _, digest = read_repository(triton_server.repository)
    config = ensemble.client.get_model_config("cxr").config
    assert config.parameters["model_digest"].string_value == digest
