"""From predictions to a page's films: nothing that fails beside a film costs its result."""

from __future__ import annotations

import numpy as np

from cxrclient import SimilarityIndex
from cxrclient.errors import FilmError
from cxrclient.films.film import read_film
from cxrclient.pages.film_section import about
from cxrclient.pages.page import PageFilm
from cxrclient.pages.reporting import page_films
from cxrclient.wire.prediction import ModelInfo


def test_an_archive_that_fails_costs_no_film_its_result(tmp_path, predicted, model) -> None:
    index = SimilarityIndex(tmp_path / "cxr.db", model_digest=model.digest)
    index.close()

    def search(prediction):
        return index.search(prediction.embedding)

    first, second = page_films([predicted(), predicted()], model, search)
    for film in (first, second):
        assert isinstance(film, PageFilm)
        assert "ARCHIVE_UNAVAILABLE" in film.neighbours


def test_an_archive_without_other_films_is_no_failure(tmp_path, predicted, model) -> None:
    with SimilarityIndex(tmp_path / "cxr.db", model_digest=model.digest) as index:
        film = predicted()
        index.add([film.film_id], [np.ones(128, np.float32)], [{}])

        def search(prediction):
            return index.search(prediction.embedding, exclude=[prediction.film_id])

        (found,) = page_films([film], model, search)
    assert found.neighbours == []


def test_a_film_of_another_model_has_no_place_among_these_results(predicted, model) -> None:
    other = predicted(model=ModelInfo("next", "e" * 64))
    outcomes = list(page_films([predicted(), other], model))
    assert isinstance(outcomes[0], PageFilm)
    assert isinstance(outcomes[1], FilmError)
    assert (outcomes[1].code, outcomes[1].retriable) == ("MODEL_CHANGED", True)


def test_a_film_without_result_comes_out_where_it_went_in(predicted, model) -> None:
    lost = FilmError("NO_PIXELS", "None.", status="rejected", path="a.dcm")
    assert list(page_films([lost], model)) == [lost]


def test_a_page_shows_what_the_header_said_and_needs_no_file(
    tmp_path, write_dicom, predicted
) -> None:
    path = write_dicom(
        tmp_path / "a.dcm", ViewPosition="AP", PatientSex="F", PatientAge="061Y", PatientName="Doe"
    )
    film = read_film(path)
    path.unlink()
    said = {"view": "AP", "sex": "F", "age": 61, "study_uid": None}
    assert about(predicted(path=str(path), film=film)) == said
    assert about(predicted()) == dict.fromkeys(said)
