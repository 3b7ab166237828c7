"""`make quickstart`, after the install, and then every command of README.md, as they stand there.

From a real film to a page, and nothing left running, and nothing that git sees.
"""

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

from waiting import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="tritonserver runs on Linux only")

HANG_S = 1800  # only a hang takes so long, whatever else the machine does
ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "quickstart.py"


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
    mark: str
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
    return Ran(process.returncode, output, talk, at_most, mark, folder)


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Ran:
    return run(tmp_path_factory.mktemp("checkout") / "quickstart")


def test_it_succeeds_and_ends_with_the_pages_path(ran: Ran) -> None:
    assert ran.code == 0, ran.talk
    assert ran.output.splitlines()[-1] == str(ran.folder / "index.html")


def test_it_leaves_no_server_running(ran: Ran) -> None:
    assert ran.processes_at_most > 5  # Triton and its stubs were seen while it ran
    eventually(lambda: not marked(ran.mark), "something still runs")  # what ends takes a moment


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


# What is installed beside the extra `quickstart`, so that the newcomer does not have it.
WITHOUT_OTHER_EXTRAS = """
import sys
from importlib.machinery import PathFinder
from importlib.metadata import distribution, packages_distributions
from packaging.requirements import Requirement

def needed(name, extras, found):
    for line in distribution(name).requires or ():
        one = Requirement(line)
        if any(one.marker is None or one.marker.evaluate({"extra": e}) for e in (*extras, "")):
            key = (one.name.lower().replace("_", "-"), *sorted(one.extras))
            if key not in found:
                found.add(key)
                needed(one.name, one.extras, found)
    return {key[0] for key in found}

installed = needed("cxr-triton", ["quickstart"], set()) | {"cxr-triton", "pip"}
others = {
    package
    for package, names in packages_distributions().items()
    if not {each.lower().replace("_", "-") for each in names} & installed
}

class Installed(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in others else super().find_spec(name, path, target)

sys.meta_path = [Installed if each is PathFinder else each for each in sys.meta_path]
"""


@dataclass(frozen=True)
class Newcomer:
    """Who stands in the checkout after `make quickstart`, with what that has installed."""

    folder: Path
    environment: dict[str, str]

    def types(self, command: str) -> str:
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture
def newcomer(ran: Ran, tmp_path: Path) -> Newcomer:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_OTHER_EXTRAS)
    programs = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(tmp_path),
        "CXR_PATIENT_KEY_FILE": str(tmp_path / "patient.key"),
    }
    return Newcomer(ran.folder.parent, environment)


def shown(readme: str) -> list[str]:
    """The commands of README.md that follow `make quickstart`, without remarks."""
    lines = re.findall(r"^    (\S.*)$", readme, re.MULTILINE)
    commands = [line.partition("  #")[0].strip() for line in lines]
    return [each for each in commands if each.startswith(("cxrclient ", "python "))]


def test_the_newcomer_has_no_other_extras(newcomer: Newcomer) -> None:
    code = "import importlib.util as u; import cv2, pandas, tritonclient; print(u.find_spec('pip'))"
    newcomer.types(f'python -c "{code}"')
    for extra in ("torch", "pyarrow", "pytest", "matplotlib"):
        with pytest.raises(AssertionError, match="No module named"):
            newcomer.types(f"python -c 'import {extra}'")


def test_every_command_of_the_readme_runs_and_leaves_nothing_that_git_sees(
    newcomer: Newcomer,
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    serve, *others = shown(readme)
    # The ports may be somebody's; perf_analyzer's lines run in tests/benchmarks.
    own_ports = " ".join(f"--{name}-port 0" for name in ("grpc", "http", "metrics"))
    measured = [each for each in others if each.startswith("python ")]
    assert (serve, len(others), len(measured)) == ("cxrclient serve", 7, 2)
    newcomer.types(f"git init --quiet && cp {ROOT / '.gitignore'} . && git add .gitignore")
    serving = subprocess.Popen(
        ["sh", "-c", f"exec {serve} {own_ports}"],
        cwd=newcomer.folder,
        env=newcomer.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert serving.stdout is not None
        ready = re.match(r"Ready: gRPC (\S+),", serving.stdout.readline())
        assert ready is not None
        newcomer.environment["CXR_SERVER"] = ready[1]
        told = {each.split()[1]: newcomer.types(each) for each in others if each not in measured}
        (code,) = re.findall(r"```python\n(.+?)```", readme, re.DOTALL)
        (newcomer.folder / "quickstart" / "lines.py").write_text(
            code.replace("localhost:8001", ready[1])
        )
        told["python"] = newcomer.types("python quickstart/lines.py")
    finally:
        serving.terminate()
        serving.communicate()
    assert serving.returncode == 0
    assert list(told) == ["predict", "index", "similar", "report", "perf-data", "python"]
    assert "phantom_0001_0.dcm" in told["predict"]
    assert "films in all" in told["index"]
    for made in ("report.html", "overlay.png", "films.json"):
        assert (newcomer.folder / "quickstart" / made).stat().st_size > 1000
    seen = newcomer.types("git status --porcelain --untracked-files=all")
    assert seen.split() == ["A", ".gitignore"]
