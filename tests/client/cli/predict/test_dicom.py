"""`predict --dicom`: from the same inference and the same reading, beside every other output."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from cxrclient.cli.app import app
from cxrclient.pixels import decode_film
from cxrexport.phantom.collection import write_phantoms
from film_opens import opens_in


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drawn films, a photograph's sort of film (PNG), and noise that is no chest."""
    folder = tmp_path_factory.mktemp("films")
    write_phantoms(2, folder / "drawn", seed=3, size_px=300)
    for path in (folder / "drawn/images").glob("*.dcm"):
        shutil.copy(path, folder)
    shutil.rmtree(folder / "drawn")
    first = pydicom.dcmread(min(folder.glob("*.dcm")))
    grey = decode_film(min(folder.glob("*.dcm")).read_bytes()).pixels >> 8
    Image.fromarray(grey.astype(np.uint8)).save(folder / "film.png")
    first.SOPInstanceUID = first.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    first.decompress(generate_instance_uid=False)
    pixels = np.random.default_rng(0).integers(0, 255, first.pixel_array.shape, np.uint8)
    first.BitsAllocated = first.BitsStored = 8
    first.HighBit, first.PixelData = 7, pixels.tobytes() + b"\0" * (pixels.size % 2)
    first["PixelData"].VR = "OB"
    first.save_as(folder / "noise.dcm")
    return folder


@pytest.fixture
def run(triton_server: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("CXR_SERVER", triton_server.grpc_address)

    def command(*words: object) -> Result:
        return CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)

    return command


def test_each_film_has_its_objects_from_one_reading(films, run, tmp_path):
    results, folder = tmp_path / "r.jsonl", tmp_path / "objects"

    with opens_in(films) as opened:
        done = run("predict", films, "--dicom", folder, "--gsps", "--output", results)

    assert done.exit_code == 3, done.output  # the noise was turned away
    assert set(opened.values()) == {1}
    lines = {Path(line["path"]).name: line for line in map(json.loads, results.open())}
    good = [line for name, line in lines.items() if name.startswith("phantom")]
    assert len(good) == 2
    for line in good:
        for kind in ("sr", "seg", "sc", "gsps"):
            found = pydicom.dcmread(line[kind])
            assert Path(line[kind]).name == f"{line['film_id']}.{kind}.dcm"
            assert found.StudyInstanceUID == pydicom.dcmread(line["path"]).StudyInstanceUID
    noise = lines["noise.dcm"]
    assert noise["status"] == "rejected"
    assert noise["code"].encode() in Path(noise["sr"]).read_bytes()
    assert "seg" not in noise
    assert "1 film without DICOM results" in done.stderr
    assert "sr" not in lines["film.png"]
    assert lines["film.png"]["status"] == "ok"


def test_the_same_run_again_gives_the_same_bytes(films, run, tmp_path):
    for name in ("one", "two"):
        run("predict", films, "--dicom", tmp_path / name, "--output", tmp_path / f"{name}.jsonl")

    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("one", "two")
    )
    assert first == second
    assert len(first) == 7  # three of each drawn film, and why the noise has none


def test_another_film_with_the_same_uid_does_not_take_the_firsts_results(films, run, tmp_path):
    twice = tmp_path / "twice"
    twice.mkdir()
    first, second = sorted(films.glob("phantom*.dcm"))
    shutil.copy(first, twice / "a.dcm")
    other = pydicom.dcmread(second)
    other.SOPInstanceUID = pydicom.dcmread(first).SOPInstanceUID
    other.save_as(twice / "b.dcm")

    done = run("predict", twice, "--dicom", tmp_path / "objects", "--output", tmp_path / "r.jsonl")

    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").open()]
    assert ["sr" in line for line in lines] == [True, False]
    assert "that one's results are kept" in done.stderr


def test_an_outline_without_a_folder_is_wrong_usage(films, run):
    done = run("predict", films, "--gsps")

    assert done.exit_code == 2
    assert "--dicom" in done.stderr
