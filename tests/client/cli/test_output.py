"""What the commands print: progress in words, and tables without what all films have in common."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pytest

from cxrclient.cli.output.names import common_folder
from cxrclient.cli.output.progress import in_words, shown_progress, time_left
from cxrclient.cli.output.results import result_writer
from cxrclient.errors import FilmError
from cxrclient.films import FilmSearch
from cxrclient.wire import EnsembleInfo, Prediction
from cxrclient.wire.prediction import ModelInfo
from waiting import eventually

INFO = EnsembleInfo(
    model=ModelInfo("starter", "d" * 64),
    labels=("non-covid", "covid"),
    threshold=0.5,
    image_size_px=64,
    embedding_size=128,
    members=("vgg16",),
    preprocessing_digest="p" * 64,
    notice="It separates sources.",
)
FILM = Prediction(
    path="/data/study/one.dcm",
    film_id="1.2",
    probability=0.25,
    label="non-covid",
    members={"vgg16": 0.25},
    votes=0,
    lung_fraction=0.3,
    embedding=np.zeros(128, np.float32),
    flags=("LOSSY_COMPRESSED", "NO_WINDOW"),
    model=INFO.model,
    latency_ms=1.0,
)


def table_of(*results: Prediction | FilmError) -> str:
    stream = io.StringIO()
    writer = result_writer("table", stream, INFO)
    for result in results:
        writer.add(result, {})
    writer.close()
    return stream.getvalue()


@pytest.mark.parametrize(
    ("films", "folder"),
    [
        (["/data/a/1.dcm", "/data/b/1.dcm"], "/data/"),
        (["/data/ab/1.dcm", "/data/ac/1.dcm"], "/data/"),
        (["films/1.dcm", "films/2.dcm"], "films/"),
        (["/a/1.dcm", "/b/1.dcm"], ""),
        (["/data/1.dcm"], ""),
        (["1.dcm", "2.dcm"], ""),
        (["./films/1.dcm", "films/2.dcm"], ""),
        (["/films/1.dcm", "films/2.dcm"], ""),
        (["/films/1.dcm", ""], ""),
    ],
)
def test_the_folder_that_films_have_in_common(films: list[str], folder: str) -> None:
    assert common_folder(films) == folder


def test_a_table_says_the_common_folder_and_remarks_once() -> None:
    lost = FilmError("EMPTY", "It is empty.", status="rejected", path="/data/study/more/two.dcm")
    others = [
        replace(FILM, path=f"/data/study/more/{n}.dcm", flags=("LOSSY_COMPRESSED",))
        for n in range(2)
    ]
    text = table_of(FILM, lost, *others)
    assert text.startswith("Films in /data/study/; all: LOSSY_COMPRESSED")
    assert text.count("/data/study") == text.count("LOSSY_COMPRESSED") == 1
    for part in ("│ one.dcm ", "│ more/two.dcm ", "NO_WINDOW", "EMPTY: It is empty."):
        assert text.count(part) == 1


def test_a_table_of_one_film_keeps_its_path_and_remarks() -> None:
    text = table_of(FILM)
    assert "│ /data/study/one.dcm " in text
    assert "LOSSY_COMPRESSED NO_WINDOW" in text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0.0, ""),
        (0.2, "about 1 s left"),
        (42.4, "about 42 s left"),
        (95, "about 2 min left"),
        (5400, "about 1.5 h left"),
    ],
)
def test_time_left_is_said_in_words(seconds: float | None, words: str) -> None:
    assert time_left(seconds) == words


def test_fates_are_said_in_words() -> None:
    assert in_words({"": 3}) == ""
    assert in_words({"ok": 20, "failed": 0, "rejected": 3}) == " (20 done, 3 rejected)"


def test_a_bar_in_a_terminal_counts_by_fate_with_rate_and_time_left(monkeypatch, tmp_path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

        def text(self) -> str:
            return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.getvalue())  # colours and moves

    for name in ("a.dcm", "b.dcm", "c.dcm"):
        (tmp_path / name).touch()
    stderr = Terminal()
    monkeypatch.setattr("sys.stderr", stderr)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with shown_progress(FilmSearch([str(tmp_path)]), stdout_has_results=False) as advance:
        advance(1, "ok")
        advance(1, "rejected")
        for words in (r"2/3 films \(1 done, 1 rejected\)", r" \d\.\d films/s about \d+ s left"):
            eventually(lambda words=words: re.search(words, stderr.text()), f"no {words}")
    assert "0:00:0" not in stderr.text(), "nothing that can be read as time gone"
