"""From films that nobody has split or drawn lungs on to a served model and a page to print.

The commands are the tutorial's, sections 7 and 8, with small networks.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from cxrexport.phantom.collection import write_phantoms
from served import CXRCLIENT, FREE_PORTS, PATIENCE_S, Serving

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tritonserver runs on Linux only")
Run = Callable[..., str]

RECIPE = """
extends: starter
name: ours
members: [resnet50, vgg16]
width: 0.125
preprocessing: {size_px: 64}
notice: Research use only. Our own films, and too few.
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty films of our own, and a CSV of what is known of them: patient and label."""
    folder = tmp_path_factory.mktemp("researcher")
    manifest = write_phantoms(60, folder / "drawn", seed=5, size_px=200, letters=False)
    shutil.rmtree(folder / "drawn/masks")
    with manifest.open(newline="") as known, (folder / "films.csv").open("w", newline="") as file:
        ours = csv.DictWriter(file, ["image", "patient_id", "label"], extrasaction="ignore")
        ours.writeheader()
        for row in csv.DictReader(known):
            ours.writerow({**row, "image": f"drawn/{row['image']}"})
    manifest.unlink()
    (folder / "ours.yaml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    """Run a line as it stands in the tutorial; gives what it said."""

    def command(line: str, *codes: int) -> str:
        program, *words = line.split()
        done = subprocess.run(
            [CXRCLIENT.with_name(program), *words],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env={**os.environ, "COLUMNS": "200"},
        )
        assert done.returncode in (codes or (0,)), (line, done.stdout + done.stderr)
        return done.stdout + done.stderr

    return command


@pytest.fixture(scope="module")
def trained(folder: Path, run: Run) -> str:
    assert "60 films, 0 problems" in run(
        "cxrexport manifest check films.csv", 0, 3
    )  # 3: films that the study would have left out
    return run(
        "cxrexport train all --recipe ours.yaml --set classify.epochs=1 --manifest films.csv "
        "--output runs/ours"
    )


def test_training_says_which_splits_and_whose_lungs_it_took(trained: str, folder: Path) -> None:
    assert "drawn by patient" in trained
    assert "runs/ours/splits.csv" in trained
    assert "starter" in trained  # whose lung network, as the films have no masks
    assert (folder / "runs/ours/splits.csv").is_file()


def test_the_run_is_judged_on_its_own_test_films(trained: str, folder: Path, run: Run) -> None:
    said = run(
        "cxrexport evaluate --run runs/ours --manifest films.csv --output evaluation "
        "--bootstrap 200"
    )

    assert "runs/ours/splits.csv" in said
    assert "CANNOT_BE_JUDGED" in said  # of so few
    with (folder / "evaluation/scores.csv").open(newline="") as file:
        scores = list(csv.DictReader(file))
    kept = list(csv.DictReader((folder / "runs/ours/splits.csv").open(newline="")))
    assert len(scores) == sum(row["split"] == "test" for row in kept)
    assert (folder / "evaluation/tables").is_dir()


def test_the_report_can_be_printed(trained: str, folder: Path) -> None:
    report = folder / "evaluation/report.html"
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("no chromium: apt-get install chromium (the Debian package)")

    pdf = folder / "report.pdf"
    subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--no-pdf-header-footer",
         f"--print-to-pdf={pdf}", f"file://{report}"],
        check=True, capture_output=True, timeout=PATIENCE_S,
    )  # fmt: skip

    assert pdf.read_bytes().count(b"/Type /Page\n") in range(3, 40)


def test_what_was_trained_is_built_served_and_predicts(
    trained: str, folder: Path, run: Run
) -> None:
    run("cxrexport build --run runs/ours --repository my_repository --evaluation evaluation")
    command = [CXRCLIENT, "serve", "--model-repository", "my_repository", "--device", "cpu"]
    temporary = folder / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        [*map(str, command), *FREE_PORTS],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    try:
        ready = Serving(process, temporary).wait_ready()
        address = ready.split("gRPC ")[1].split(",")[0].split()[0]
        films = sorted((folder / "drawn/images").glob("*.dcm"))[:3]
        said = run(
            f"cxrclient predict {' '.join(map(str, films))} --server {address} --no-gate "
            "--output results.jsonl"
        )
    finally:
        process.terminate()
        process.wait(PATIENCE_S)

    assert "Our own films, and too few" in said
    lines = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert [line["film_id"] for line in lines] == [
        pydicom.dcmread(film, stop_before_pixels=True).SOPInstanceUID for film in films
    ]
    assert {tuple(line["members"]) for line in lines} == {("resnet50", "vgg16")}
    assert {line["model"]["name"] for line in lines} == {"ours"}
