"""`cxrclient report` and `cxrclient similar --html` against a real server and a real archive."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cxrclient.cli.app import app
from cxrclient.cli.options.filters import filter_note

pytestmark = pytest.mark.filterwarnings("ignore")


@dataclass(frozen=True)
class Site:
    """A folder of drawn films, an archive of them, and the server that filled it."""

    films: list[Path]
    archive: Path
    server: str

    def run(self, *arguments: object) -> Result:
        command = [str(argument) for argument in arguments]
        return CliRunner().invoke(app, [*command, "--server", self.server])


@pytest.fixture(scope="module")
def site(tmp_path_factory, triton_server) -> Site:
    from cxrexport.manifest import read_manifest
    from cxrexport.phantom import write_phantoms

    folder = tmp_path_factory.mktemp("site")
    manifest = write_phantoms(6, folder / "films", seed=3, size_px=256)
    films = [row.image for row in read_manifest(manifest)]
    site = Site(films, folder / "cxr.db", triton_server.grpc_address)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_PATIENT_KEY", "a key for these tests only")
        done = site.run("index", *films, "--uri", site.archive, "--metadata", manifest)
        assert done.exit_code == 0, done.output
        yield site


@pytest.fixture(scope="module")
def reported(site: Site, tmp_path_factory) -> tuple[Result, str]:
    """Two films, a foreign file and one that is not there."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "notes.dcm").write_bytes(b"no film")
    page = folder / "report.html"
    done = site.run(
        "report",
        *(site.films[0], folder / "notes.dcm", site.films[1], folder / "missing.dcm"),
        *("--html", page, "--uri", site.archive, "-k", 3, "--archive-films", site.films[0].parent),
    )
    return done, page.read_text(encoding="utf-8")


def test_good_films_keep_their_results_beside_bad_ones(reported) -> None:
    done, page = reported
    assert done.exit_code == 3, done.output
    assert "4 films: 2 with a result, 1 turned away, 1 failed." in done.output
    assert page.count("Model's class") == 2
    assert page.count("Films without a result") == 1
    assert page.count("<h3>Turned away</h3>") == page.count("<h3>Failed</h3>") == 1
    assert "NOT_<wbr>READABLE" in page
    assert "FILE_<wbr>UNREADABLE" in page


def test_each_has_the_nearest_films_of_other_patients_with_pictures_and_what_is_known(
    site: Site, reported
) -> None:
    from pydicom import dcmread

    page = reported[1]
    for number, film in ((1, site.films[0]), (3, site.films[1])):
        section = page.split(f'id="near-{number}"')[1].split("</section>")[0]
        found = re.findall(r"<dt>film id</dt><dd>([0-9.]+)</dd>", section)
        patients = {
            str(header.SOPInstanceUID): header.PatientID
            for header in (dcmread(path, stop_before_pixels=True) for path in site.films)
        }
        own = patients[str(dcmread(film, stop_before_pixels=True).SOPInstanceUID)]
        assert 1 <= len(found) <= 3
        assert own not in {patients[film_id] for film_id in found}
        assert section.count('alt="Nearest film') == len(found)
        assert section.count("days since admission") == len(found)
        assert section.count("<dt>view</dt>") == section.count("<dt>sex</dt>") == 1 + len(found)
        assert section.count("label from the archive") == len(found)


def test_no_patient_and_no_folder_is_on_the_page(site: Site, reported) -> None:
    from pydicom import dcmread

    page = reported[1]
    for film in site.films:
        header = dcmread(film, stop_before_pixels=True)
        for value in (header.PatientName, header.PatientID, header.PatientBirthDate):
            assert not str(value) or str(value) not in page
    assert str(site.films[0].parent) not in page


def test_names_are_left_out_where_that_is_asked(site: Site, tmp_path) -> None:
    page = tmp_path / "page.html"
    done = site.run("report", site.films[0], tmp_path / "gone.dcm", "--html", page, "--no-names")
    text = page.read_text(encoding="utf-8")
    assert done.exit_code == 3
    assert ".dcm" not in text
    assert "Film 2" in text


def test_an_existing_film_is_not_written_over(site: Site) -> None:
    before = site.films[1].read_bytes()
    done = site.run("report", site.films[0], "--html", site.films[1])
    assert done.exit_code == 2
    assert "no page of cxrclient" in done.output
    assert site.films[1].read_bytes() == before


def test_no_server_is_said_before_anything_is_written(site: Site, tmp_path, free_address) -> None:
    page = tmp_path / "page.html"
    lost = Site(site.films, site.archive, free_address)
    assert lost.run("report", site.films[0], "--html", page).exit_code == 5
    assert list(tmp_path.iterdir()) == []


def test_similar_writes_its_answer_as_a_page_too(site: Site, tmp_path) -> None:
    page = tmp_path / "similar.html"
    done = site.run(
        *("similar", site.films[0], "--uri", site.archive, "--format", "jsonl", "-k", 2),
        *("--html", page, "--age", "1-120"),
    )
    assert done.exit_code == 0, done.output
    answer = json.loads(next(line for line in done.output.splitlines() if line.startswith("{")))
    text = page.read_text(encoding="utf-8")
    assert len(answer["neighbours"]) == 2
    for neighbour in answer["neighbours"]:
        assert f"<dt>film id</dt><dd>{neighbour['id']}</dd>" in text
        assert f"<dt>distance</dt><dd>{neighbour['distance']:.2f}</dd>" in text
    assert "Only among films with age from 1 to 120." in text
    assert "No picture: the archive keeps none" in text


def test_a_page_needs_the_film_itself(site: Site, tmp_path) -> None:
    done = site.run("similar", "--id", "1.2.3", "--uri", site.archive, "--html", tmp_path / "p")
    assert done.exit_code == 2
    assert "--html shows the film" in done.output


@pytest.mark.parametrize(
    ("filters", "where", "note"),
    [
        ({}, None, None),
        ({"view": ["AP", "PA"], "age": (40.0, None)}, None, "view AP or PA, age from 40."),
        ({"days": (None, 0.0)}, "icu == true", "days to 0, icu == true."),
    ],
)
def test_filters_are_told_in_words(filters, where, note) -> None:
    told = filter_note(filters, where)
    assert told == (note and f"Only among films with {note}")
