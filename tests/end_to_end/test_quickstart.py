"""`make quickstart`, after the install: from a real film to a page, and nothing left running."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tritonserver runs on Linux only")

HANG_S = 1800  # only a hang takes so long, whatever else the machine does
SCRIPT = Path(__file__).parents[2] / "deploy" / "quickstart.py"


def marked(mark: str) -> set[str]:
    """Processes that inherited `mark` in their environment, as `pid command`."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if mark.encode() in (entry / "environ").read_bytes():
                    found.add(f"{entry.name} {(entry / 'cmdline').read_bytes()!r}")
            except OSError:  # it has just ended, or is another user's
                continue
    return found


@dataclass(frozen=True)
class Ran:
    code: int
    output: str
    talk: str
    processes_at_most: int
    left_running: set[str]
    folder: Path

    @property
    def page(self) -> str:
        return (self.folder / "index.html").read_text(encoding="utf-8")


def run(folder: Path) -> Ran:
    mark, started = uuid.uuid4().hex, time.monotonic()
    process = subprocess.Popen(
        [sys.executable, SCRIPT, "--output", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "CXR_TEST_MARK": mark},
    )
    at_most = 0
    while process.poll() is None and time.monotonic() - started < HANG_S:
        at_most = max(at_most, len(marked(mark)))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
    process.kill()  # only of use where it hangs
    output, talk = process.communicate()
    return Ran(process.returncode, output, talk, at_most, marked(mark), folder)


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Ran:
    return run(tmp_path_factory.mktemp("quickstart"))


def test_it_succeeds_and_ends_with_the_pages_path(ran: Ran) -> None:
    assert ran.code == 0, ran.talk
    assert ran.output.splitlines()[-1] == str(ran.folder / "index.html")


def test_it_leaves_no_server_running(ran: Ran) -> None:
    assert ran.processes_at_most > 5  # Triton and its stubs were seen while it ran
    assert ran.left_running == set()


def test_the_table_has_the_real_film_and_its_four_neighbours(ran: Ran) -> None:
    assert ran.output.count("RG1_UNCR.dcm") == 2, "judged by two models"
    assert len(re.findall(r"covid [0-9]{8}", ran.output)) == 4


def test_the_gallery_of_at_least_20_drawn_films_is_in_the_archive(ran: Ran) -> None:
    from cxrclient import SimilarityIndex
    from cxrclient.errors import ArchiveMismatch

    with pytest.raises(ArchiveMismatch, match="holds embeddings of the model") as caught:
        SimilarityIndex(ran.folder / "cxr.db", model_digest="unknown")
    digest = re.search(r"Model starter, digest <code>([0-9a-f]{64})", ran.page)
    assert digest is not None
    assert digest[1][:12] in str(caught.value)
    with SimilarityIndex(ran.folder / "cxr.db", model_digest=digest[1], create=False) as index:
        assert len(index) >= 20


def test_the_page_shows_the_film_once_and_lungs_heatmap_and_members_of_both(ran: Ran) -> None:
    assert len(re.findall(r"<article", ran.page)) == 1
    assert "Film 1: RG1_UNCR.dcm</h2>" in ran.page
    assert len(re.findall(r'alt="Film 1[^"]*chest film"', ran.page)) == 1
    for model in ("tb-served", "starter"):
        for part in ("with the lungs outlined", "under its heatmap, hottest in the"):
            assert len(re.findall(f'alt="Film 1 by {model} {part}', ran.page)) == 1
    assert len(re.findall('alt="Nearest film [1-4] to film 1"', ran.page)) == 4
    assert len(re.findall(r"<h4>Nearest [1-4]: (non-)?covid</h4>", ran.page)) == 4
    for member, count in (("resnet34", 1), ("resnet50", 2), ("resnet152", 1), ("vgg16", 2)):
        assert len(re.findall(f'<th scope="row">{member}</th>', ran.page)) == count


def test_the_real_film_is_judged_by_the_networks_that_have_shown_skill_too(ran: Ran) -> None:
    assert "Model's class by tb-served: tb</h3>" in ran.page
    assert re.search(r"estimated probability of tb: [0-9.]+", ran.page)
    for text in (ran.page, " ".join(ran.output.split())):
        assert "separate the sources of their training films, not disease" in text
        assert "SKILL_SUPPORTED" in text
        assert "a thumbnail of 24 by 24 greys has 0." in text


def test_page_and_table_say_what_the_neighbours_are_and_are_not(ran: Ran) -> None:
    for text in (ran.page, " ".join(ran.output.split())):
        assert "only show how the search works" in text
    assert ran.page.count("Research use only; not a medical device.</strong>") == 1


def test_no_drawn_film_is_written_on(ran: Ran) -> None:
    """So that the first prediction of the folder, or a page of it, is not a wall of warnings."""
    from pydicom import dcmread

    films = sorted((ran.folder / "films" / "images").iterdir())
    assert len(films) >= 20
    for film in films:
        assert dcmread(film, stop_before_pixels=True).BurnedInAnnotation == "NO"


@pytest.mark.slow
def test_a_second_run_in_the_same_folder_gives_the_same(ran: Ran) -> None:
    again = run(ran.folder)
    assert (again.code, again.output) == (0, ran.output)
