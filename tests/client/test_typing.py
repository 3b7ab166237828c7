"""A user's type checker sees what the client gives: five lines in a notebook, strictly checked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import cxrclient

FIVE_LINES = """
from cxrclient import CxrClient, SimilarityIndex

with CxrClient("localhost:8001") as cxr, SimilarityIndex("cxr.db", model_digest="d") as index:
    prediction = cxr.predict("film.dcm")
    nearest = index.search(prediction, k=4, view="AP", age=(40, 60))
    reveal_type(prediction.probability)
    reveal_type(prediction.embedding)
    reveal_type(prediction.warnings)
    reveal_type(nearest[0].distance)
    reveal_type(nearest[0].label)
    reveal_type(cxr.model.calibrated)
"""
MANY = """
import io

import numpy as np
from PIL import Image
from pydicom import Dataset

from cxrclient import AsyncCxrClient, FilmError

async def films() -> None:
    async with AsyncCxrClient("localhost:8001", jobs=4) as cxr:
        await cxr.predict(np.zeros((9, 9), np.uint16))
        await cxr.predict(Image.new("L", (9, 9)))
        await cxr.predict(Dataset())
        await cxr.predict(open("a.dcm", "rb"))
        async for outcome in cxr.predict_many(["a.dcm", b"bytes", io.BytesIO()], maps=True):
            if isinstance(outcome, FilmError):
                reveal_type(outcome.code)
            else:
                reveal_type(outcome.lungs)
"""
WRONG = """
from cxrclient import CxrClient, SimilarityIndex

cxr = CxrClient("localhost:8001", jobs="8")
cxr.predict(17)
cxr.predict("film.dcm").probabilty
SimilarityIndex("cxr.db")
"""


@pytest.fixture(scope="module")
def checked(tmp_path_factory) -> dict[str, list[str]]:
    """What mypy --strict says of each snippet, without the settings of this project."""
    folder = tmp_path_factory.mktemp("user")
    snippets = {"five_lines": FIVE_LINES, "many": MANY, "wrong": WRONG}
    for name, text in snippets.items():
        (folder / f"{name}.py").write_text(text)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--no-pretty"]
    command += ["--cache-dir", str(folder / "cache"), *(f"{name}.py" for name in snippets)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    return {name: [line for line in lines if line.startswith(f"{name}.py")] for name in snippets}


def revealed(lines: list[str]) -> list[str]:
    assert [line for line in lines if " error: " in line] == []
    return [line.split('"')[1] for line in lines if "Revealed type" in line]


def test_the_package_says_that_it_is_typed() -> None:
    assert Path(cxrclient.__file__).with_name("py.typed").is_file()


def test_five_lines_know_their_types(checked) -> None:
    probability, embedding, warnings, distance, label, calibrated = revealed(checked["five_lines"])
    assert (probability, distance) == ("float", "float")
    assert embedding.startswith("numpy.ndarray[")
    assert "32" in embedding  # float32, as the installed numpy calls it
    assert warnings == "tuple[str, ...]"
    assert label == "str | None"
    assert calibrated == "bool"


def test_a_result_is_a_prediction_or_an_error(checked) -> None:
    code, lungs = revealed(checked["many"])
    assert code == "str"
    assert lungs.endswith("| None")


def test_mistakes_are_found_before_they_run(checked) -> None:
    errors = [line.split(":")[1] for line in checked["wrong"] if " error: " in line]
    assert errors == ["4", "5", "6", "7"]
