"""What goes wrong with us is never told as a fault of the film."""

from __future__ import annotations

import shutil
import subprocess
import sys
from types import ModuleType

import pytest

from cxrclient.errors import FilmError
from cxrclient.faults import internal_error, is_ours
from cxrclient.films.film import read_film
from cxrclient.pages.film_folder import FilmFolder

TOGETHER = """
import sys, threading
from cxrclient.errors import FilmError
from cxrclient.films.film import read_film
from cxrclient.pages.film_folder import FilmFolder

film, folder = sys.argv[1:]
begin, said = threading.Barrier(2), []

def read():
    begin.wait()
    said.append(read_film(film).film_id)

def find():
    begin.wait()
    list(FilmFolder(folder).find(["no such film"]))
    said.append("found")

threads = [threading.Thread(target=work) for work in (read, find)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(said) == 2, said
print(read_film(film).film_id)
"""


@pytest.mark.parametrize("time", range(5))
def test_the_first_two_films_may_be_read_in_two_threads_at_once(time, real_film, tmp_path):
    """Each time in a new process, which has not imported pydicom."""
    shutil.copy(real_film("RG1_UNCR.dcm"), tmp_path / "a.dcm")
    command = [sys.executable, "-c", TOGETHER, str(tmp_path / "a.dcm"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("1.3.6.1.4.1.5962")


def test_nothing_in_the_client_imports_pydicom_past_the_one_place_that_waits_for_it():
    from pathlib import Path

    import cxrclient

    sources = Path(cxrclient.__file__).parent.rglob("*.py")
    past = [
        path.name
        for path in sources
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip().startswith(("import pydicom", "from pydicom"))
    ]
    assert set(past) == {"pydicom_parts.py"}


def _missing_name():
    return not_defined_anywhere  # noqa: F821


def _half_a_module():
    return ModuleType("pydicom").valuerep


def _no_memory():
    raise MemoryError


def _no_module():
    raise ModuleNotFoundError("No module named 'pydicom'", name="pydicom")


def _no_descriptor():
    raise OSError(24, "Too many open files")


OURS = [_missing_name, _half_a_module, _no_memory, _no_module, _no_descriptor]


@pytest.mark.parametrize("fault", OURS)
@pytest.mark.parametrize("place", ["raw_elements", "with_functional_groups", "pixel_data"])
def test_a_fault_of_ours_is_internal_and_no_damage_of_the_film(fault, place, films, monkeypatch):
    monkeypatch.setattr(f"cxrclient.films.stripping.{place}", lambda *_arguments: fault())
    with pytest.raises(FilmError) as raised:
        read_film(films[0])
    error = raised.value
    assert (error.code, error.status, error.path) == ("INTERNAL", "failed", str(films[0]))
    assert error.retriable == (fault is _no_memory)


@pytest.mark.parametrize(
    "error",
    [ValueError(), KeyError(), TypeError(), RecursionError(), EOFError(), NotImplementedError()],
)
def test_what_damage_makes_a_parser_raise_stays_the_films(error, films, monkeypatch):
    def stumble(*_arguments):
        raise error

    monkeypatch.setattr("cxrclient.films.stripping.raw_elements", stumble)
    with pytest.raises(FilmError) as raised:
        read_film(films[0])
    assert (raised.value.code, raised.value.status) == ("NOT_READABLE", "rejected")


def test_an_attribute_that_a_damaged_value_lacks_is_the_films_fault():
    with pytest.raises(AttributeError) as raised:
        (7).items  # noqa: B018
    assert not is_ours(raised.value)


def test_what_failed_is_said_and_its_words_are_not():
    """A foreign message may quote the film's header."""
    try:
        raise ImportError("Zorn^Secret", name="pydicom.tag")
    except ImportError as error:
        said = str(internal_error(error, "a.dcm"))
    assert "ImportError of pydicom.tag in test_faults_of_ours.py" in said
    assert "Zorn" not in said


@pytest.mark.parametrize("fault", OURS[:4])
def test_a_folder_whose_films_we_fail_to_read_is_not_said_to_lack_them(fault, films, monkeypatch):
    monkeypatch.setattr("cxrclient.films.read_partial", lambda *_a, **_k: fault())
    folder = FilmFolder(films[0].parent)
    for _ in range(2):  # asked again, it goes on, and does not say either that there is none
        ((film_id, error),) = folder.find(["1.2"])
        assert (film_id, error.code) == ("1.2", "INTERNAL")


def test_a_damaged_film_in_a_folder_hides_no_other(tmp_path, write_dicom, real_film):
    import pydicom

    folder = tmp_path / "films"
    folder.mkdir()
    data = real_film("RG1_UNCR.dcm").read_bytes()
    for number, cut in enumerate((140, 300, 400, 700, 1000)):
        (folder / f"{number}.dcm").write_bytes(data[:cut])
    deflated = pydicom.dcmread(write_dicom(tmp_path / "z.dcm"))
    deflated.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    deflated.save_as(folder / "5.dcm")
    (folder / "6.dcm").write_bytes((folder / "5.dcm").read_bytes()[:-50])
    wanted = write_dicom(folder / "z.dcm")
    uid = pydicom.dcmread(wanted).SOPInstanceUID
    other = deflated.SOPInstanceUID
    found = {film_id: film.path for film_id, film in FilmFolder(folder).find([uid, other])}
    assert found == {uid: str(folder / "5.dcm")} | {other: str(folder / "5.dcm")}


def test_any_fault_of_the_client_costs_its_film_and_not_the_run(triton_server, films, monkeypatch):
    from cxrclient import CxrClient, Prediction
    from cxrclient.wire import async_client as module

    real = module.prediction_from_answer
    paths = []

    def stumble(*arguments, film, **options):
        paths.append(film.path)
        if len(paths) == 2:
            raise ZeroDivisionError
        return real(*arguments, film=film, **options)

    monkeypatch.setattr(module, "prediction_from_answer", stumble)
    with CxrClient(triton_server.grpc_address, jobs=1) as client:
        first, lost, last = client.predict_many(films[:3])
    assert isinstance(first, Prediction)
    assert isinstance(last, Prediction)
    assert (lost.code, lost.status, lost.path) == ("INTERNAL", "failed", str(films[1]))
