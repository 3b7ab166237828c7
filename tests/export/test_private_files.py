"""What holds pixels of films or tells of patients is its owner's alone; what is served is not."""

from __future__ import annotations

import os
import stat
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

from cxrexport.cli.app import app
from cxrexport.evaluation.scoring import RawScores
from cxrexport.manifest import read_manifest, write_manifest
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.report.figures.write import save_figure
from cxrexport.study.splits import write_folds
from cxrexport.training.films.on_disk import mapped_films, mapped_lungs


@pytest.fixture(autouse=True)
def _open_umask():
    """Whatever the user's own is."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path):
    return oct(stat.S_IMODE(path.stat().st_mode))


def test_cached_films_masks_and_lungs_are_private(phantom_rows, tmp_path):
    folder = tmp_path / "cache"
    films, _ = mapped_films(phantom_rows[:2], PreprocessingSpec(size_px=64), folder, masks=True)
    mapped_lungs(films, lambda film: film, "a" * 64, folder / "lungs")
    arrays = {path.name: mode(path) for path in folder.rglob("*.npy")}
    assert arrays == dict.fromkeys(("films.npy", "masks.npy", "lungs.npy"), "0o600")
    assert (mode(folder), mode(folder / "lungs")) == ("0o700", "0o700")


def test_what_a_killed_run_left_is_not_written_into(phantom_rows, tmp_path):
    (tmp_path / "films.part").touch()
    (tmp_path / "films.part").chmod(0o644)
    mapped_films(phantom_rows[:1], PreprocessingSpec(size_px=64), tmp_path, masks=False)
    assert mode(tmp_path / "films.npy") == "0o600"


def test_a_cache_without_room_is_an_error_and_no_signal(phantom_rows, tmp_path, monkeypatch):
    """Where a mapped file has no room, the kernel ends whoever writes to it (SIGBUS)."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space") as raised:
        mapped_films(phantom_rows[:1], PreprocessingSpec(size_px=64), tmp_path, masks=False)
    assert raised.value.filename == str(tmp_path / "films.npy")
    assert list(tmp_path.iterdir()) == []


def test_figures_scores_manifests_and_folds_are_private(phantom_rows, tmp_path):
    saved = save_figure(Figure(), tmp_path / "figures", "films")
    RawScores({"vgg16": np.zeros(3)}).save(tmp_path / "trial" / "scores.npz")
    write_manifest(phantom_rows, tmp_path / "m.csv")
    write_folds({"p1": 1, "p2": 2}, tmp_path / "folds.csv")
    made = [saved.svg, saved.png, tmp_path / "trial" / "scores.npz", tmp_path / "m.csv"]
    made.append(tmp_path / "folds.csv")
    assert {path.name: mode(path) for path in made} == {path.name: "0o600" for path in made}
    assert mode(tmp_path / "figures") == "0o700"


def test_a_sheet_of_a_film_is_private_and_keeps_a_mode_that_it_was_given(phantom_rows, tmp_path):
    sheet = tmp_path / "sheet.png"

    def preview():
        command = ["preview", "--image", str(phantom_rows[0].image), "--output", str(sheet)]
        assert CliRunner().invoke(app, command).exit_code == 0

    preview()
    assert mode(sheet) == "0o600"
    sheet.chmod(0o644)
    preview()
    assert mode(sheet) == "0o644"


def test_what_others_serve_can_be_read_by_them(tmp_path, pytestconfig):
    import shutil

    from cxrexport.repository import read_repository, write_repository

    os.umask(0o022)
    committed = pytestconfig.rootpath / "model_repository"
    copy = tmp_path / "repository"
    shutil.copytree(committed, copy)
    (copy / "repository.json").unlink()
    write_repository(read_repository(committed)[0], copy)
    assert mode(copy / "repository.json") == "0o644"


def test_a_cell_that_would_be_a_formula_reads_back_as_it_was(phantom_rows, tmp_path):
    image = tmp_path / "=cmd|x.dcm"
    image.write_bytes(phantom_rows[0].image.read_bytes())
    row = replace(phantom_rows[0], image=image, patient_id="@4711", mask=None, extra={"n": "+x"})
    write_manifest([row], tmp_path / "m.csv")
    text = (tmp_path / "m.csv").read_text()
    assert all(cell in text for cell in ("'=cmd|x.dcm", "'@4711", "'+x"))
    assert read_manifest(tmp_path / "m.csv") == (replace(row, row=2),)
