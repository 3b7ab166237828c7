"""Results that are their own journal: what is kept, what is predicted again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cxrclient.cli.output.pictures import Pictures
from cxrclient.errors import CxrClientError, UsageError
from cxrclient.runs.journal import Conditions, JournaledResults, file_identity

CONDITIONS = Conditions(model="a" * 64, gate=True)


@pytest.fixture
def films(tmp_path):
    paths = [tmp_path / f"{n}.dcm" for n in range(5)]
    for path in paths:
        path.write_bytes(b"film")
    return [str(path) for path in paths]


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results.jsonl"


def write(results, films, status="ok", **more):
    journal = JournaledResults(results, CONDITIONS, resume=results.exists())
    for film in films:
        record = {"path": film, "status": status, **more}
        journal.add(record, file_identity(film))
    journal.close()


def resumed(results, conditions=CONDITIONS, **options):
    journal = JournaledResults(results, conditions, resume=True, **options)
    journal.close()
    return journal


def paths(results):
    return [json.loads(line)["path"] for line in results.read_text().splitlines()]


def test_what_was_written_is_not_to_do_again(results, films):
    write(results, films[:3])
    journal = JournaledResults(results, CONDITIONS, resume=True)
    assert [journal.take(film) for film in films] == [True] * 3 + [False] * 2
    journal.close()


def test_a_run_that_does_not_resume_begins_anew(results, films):
    write(results, films)
    JournaledResults(results, CONDITIONS).close()
    assert results.read_bytes() == b""


def test_a_film_named_twice_has_two_lines(results, films):
    write(results, [films[0]])
    journal = JournaledResults(results, CONDITIONS, resume=True)
    assert [journal.take(films[0]), journal.take(films[0])] == [True, False]
    journal.close()


@pytest.mark.parametrize("torn", [b'{"path": "x", "sta', b"\0" * 100, b"}"])
def test_a_torn_last_line_is_cut_off_and_the_others_stay(results, films, torn):
    write(results, films[:3])
    whole = results.read_bytes()
    results.write_bytes(whole + torn)
    resumed(results)
    assert results.read_bytes() == whole


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_wherever_the_last_line_breaks_off_its_film_alone_is_to_do(results, films, cut):
    write(results, films)
    with results.open("ab") as file:
        file.truncate(results.stat().st_size - cut)
    journal = JournaledResults(results, CONDITIONS, resume=True)
    assert [film for film in films if not journal.take(film)] == films[4:]
    journal.close()


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_changed_film_is_to_do_again_and_its_old_line_is_gone(results, films, change):
    write(results, films)
    if change == "size":
        with Path(films[1]).open("ab") as file:
            file.write(b"!")
    else:
        os.utime(films[1], ns=(1, 1))
    assert resumed(results).again == {"changed": 1}
    assert paths(results) == [films[0], *films[2:]]


def test_the_result_of_a_film_that_has_gone_stays(results, films, tmp_path):
    write(results, films)
    (tmp_path / "1.dcm").unlink()
    resumed(results)
    assert paths(results) == films


@pytest.mark.parametrize(
    "conditions", [Conditions("b" * 64, gate=True), Conditions("a" * 64, gate=False)]
)
def test_results_of_another_model_or_gate_do_not_hold(results, films, conditions):
    write(results, films)
    assert resumed(results, conditions).kept.total() == 0
    assert results.read_bytes() == b""


def test_a_line_holds_for_the_model_that_made_it(results, films):
    journal = JournaledResults(results, CONDITIONS)
    for film, model in zip(films, ["a" * 64, "b" * 64], strict=False):
        journal.add({"path": film, "status": "ok"}, file_identity(film), model)
    journal.close()
    resumed(results)
    assert paths(results) == films[:1]


def test_a_failed_film_is_to_do_again_and_a_rejected_one_is_not(results, films):
    write(results, films[:2], "failed", code="TIMEOUT")
    write(results, films[2:4], "rejected", code="COLOUR")
    journal = resumed(results)
    assert paths(results) == films[2:4]
    assert journal.kept == {"rejected": 2, "COLOUR": 2}


def test_a_line_whose_picture_is_not_there_does_not_hold(results, films, tmp_path):
    write(results, films[:1], mask=str(tmp_path / "masks" / "0.png"))
    pictures = Pictures(tmp_path / "masks", None)
    needs = {"without pictures": pictures.are_there}
    assert resumed(results, needs=needs).again == {"without pictures": 1}


def test_another_file_is_refused_and_left_as_it_is(results):
    results.write_text("Dear colleague,\nthe film shows\n")
    with pytest.raises(UsageError, match=r"results\.jsonl:1 was not written"):
        resumed(results)
    assert results.read_text() == "Dear colleague,\nthe film shows\n"
    assert list(results.parent.glob("*.part")) == []


@pytest.mark.parametrize("resume", [True, False])
def test_two_runs_do_not_write_to_one_file(results, films, resume):
    write(results, films)
    before = results.read_bytes()
    first = JournaledResults(results, CONDITIONS, resume=True)
    with pytest.raises(CxrClientError, match="another run"):
        JournaledResults(results, CONDITIONS, resume=resume)
    first.close()
    assert results.read_bytes() == before


def test_the_file_is_locked_also_after_it_was_written_anew(results, films):
    write(results, films, "failed")
    first = JournaledResults(results, CONDITIONS, resume=True)
    with pytest.raises(CxrClientError, match="another run"):
        JournaledResults(results, CONDITIONS, resume=True)
    first.close()


def test_the_same_film_under_another_spelling_is_the_same(results, films, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(results, ["0.dcm"])
    journal = JournaledResults(results, CONDITIONS, resume=True)
    assert journal.take(films[0])
    journal.close()
