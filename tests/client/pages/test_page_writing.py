"""Writing a page: beside its place, as the films come, and never over anything but a page."""

from __future__ import annotations

import gc
import os
import tracemalloc
import weakref

import numpy as np
import pytest

from cxrclient.errors import ArchiveUnavailable, FilmError, UsageError
from cxrclient.pages.page import Counts, PageFilm, check_target, page_html, write_page


def failed(path: str) -> FilmError:
    return FilmError("SERVER_BUSY", "Later.", status="failed", path=path)


def test_the_file_is_the_text_and_nothing_is_left_beside_it(tmp_path, predicted, model):
    from datetime import UTC, datetime

    made = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
    films = [PageFilm(predicted()), failed("b.dcm")]
    counts = write_page(tmp_path / "p.html", films, model, made=made)
    assert counts == Counts(ok=1, rejected=0, failed=1)
    assert (tmp_path / "p.html").read_text(encoding="utf-8") == page_html(films, model, made=made)
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.html"]


def test_one_film_is_held_at_a_time(tmp_path, predicted, model):
    alive: list[weakref.ref] = []

    def films():
        for number in range(6):
            prediction = predicted(path=f"{number}.dcm")
            alive.append(weakref.ref(prediction.cxr))
            yield PageFilm(prediction)
            del prediction
            gc.collect()
            assert sum(ref() is not None for ref in alive) <= 1

    assert write_page(tmp_path / "p.html", films(), model).ok == 6


def test_memory_does_not_grow_with_the_films(tmp_path, predicted, model):
    grey = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (256, 1))

    def peak(count: int) -> int:
        films = (
            PageFilm(predicted(path=f"{n}.dcm", cxr=grey.copy(), lungs=grey.copy()))
            for n in range(count)
        )
        tracemalloc.start()
        write_page(tmp_path / "p.html", films, model)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(5)  # what is imported and cached once
    # The least of three: threads that earlier tests left in this process take memory now and then.
    few, many = (min(peak(count) for _ in range(3)) for count in (10, 60))
    page = (tmp_path / "p.html").stat().st_size
    assert many - few < page / 5  # the overview's lines; the maps alone would be six pages


def test_a_page_of_ours_is_written_over(tmp_path, predicted, model):
    path = tmp_path / "p.html"
    write_page(path, [PageFilm(predicted())], model, title="One")
    write_page(path, [PageFilm(predicted())], model, title="Two")
    assert "<h1>Two</h1>" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [b"", b"DICM", b"<!DOCTYPE html><html></html>"])
def test_any_other_file_is_left_alone(tmp_path, model, predicted, content):
    path = tmp_path / "film.dcm"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="no page of cxrclient"):
        write_page(path, [PageFilm(predicted())], model)
    assert path.read_bytes() == content


def test_a_place_that_cannot_be_written_to_is_found_before_any_film(tmp_path):
    for place in (tmp_path, tmp_path / "no such folder" / "p.html"):
        with pytest.raises(UsageError, match="Cannot write"):
            check_target(place)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyboardInterrupt(), "after film 2, it was interrupted"),
        (ArchiveUnavailable("It is gone."), "after film 2, ARCHIVE_UNAVAILABLE: It is gone."),
    ],
)
def test_what_came_before_an_interruption_is_kept_and_the_page_says_so(
    tmp_path, predicted, model, error, said
):
    def films():
        yield PageFilm(predicted())
        yield failed("b.dcm")
        raise error

    with pytest.raises(type(error)):
        write_page(tmp_path / "p.html", films(), model)
    text = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert f"This page is not complete: {said}" in text
    assert text.count("<article") == 2


def test_an_interruption_before_the_first_film_leaves_the_old_page(tmp_path, predicted, model):
    path = tmp_path / "p.html"
    write_page(path, [PageFilm(predicted())], model, title="Old")

    def films():
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        write_page(path, films(), model, title="New")
    assert "<h1>Old</h1>" in path.read_text(encoding="utf-8")
    assert len(list(tmp_path.iterdir())) == 1


def test_a_name_that_is_no_text_does_not_end_the_page(tmp_path, predicted, model):
    path = os.fsdecode(b"film\xff.dcm")
    films = [PageFilm(predicted(path=path)), failed(path)]
    assert write_page(tmp_path / "p.html", films, model).ok == 1
    assert "film\\udcff.dcm" in (tmp_path / "p.html").read_text(encoding="utf-8")
