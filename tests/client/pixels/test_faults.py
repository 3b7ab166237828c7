"""What goes wrong with us is never told as a fault of the film."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from cxrclient.errors import FilmError, NotReadable
from cxrclient.faults import is_ours
from cxrclient.pixels.codecs.opencv import decoded_by_opencv
from cxrexport.preprocessing import decode_film


def _no_memory(*_arguments: object, **_options: object) -> None:
    raise MemoryError


def _no_module(*_arguments: object, **_options: object) -> None:
    raise ModuleNotFoundError("No module named 'gdcm'", name="gdcm")


def _half_a_module(*_arguments: object, **_options: object) -> object:
    return ModuleType("pydicom").valuerep


def _no_process(*_arguments: object, **_options: object) -> None:
    raise BlockingIOError(11, "Resource temporarily unavailable")


def _interrupt(*_arguments: object, **_options: object) -> None:
    raise KeyboardInterrupt


OURS = [_no_memory, _no_module, _half_a_module, _no_process, _interrupt]
PLACES = [
    "cxrclient.pixels.header.raw_elements",
    "cxrclient.pixels.header.with_functional_groups",
    "cxrclient.pixels.dicom._decoded",
    "cxrclient.pixels.voi._lut_entries",
]


@pytest.mark.parametrize("fault", OURS)
@pytest.mark.parametrize("place", PLACES)
def test_a_fault_of_ours_is_no_film_error(
    fault: Callable[..., object],
    place: str,
    make_dicom: Callable[..., bytes],
    thorax: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pydicom.dataset import Dataset

    lut = Dataset()
    lut.LUTDescriptor = [2, 0, 16]
    lut.LUTData = b"\0\0\xff\xff"
    group = Dataset()
    group.FrameVOILUTSequence = [Dataset()]
    encoded = make_dicom(thorax, VOILUTSequence=[lut], SharedFunctionalGroupsSequence=[group])
    monkeypatch.setattr(place, fault)
    with pytest.raises(BaseException) as raised:  # noqa: PT011
        decode_film(encoded)
    assert not isinstance(raised.value, FilmError)
    assert is_ours(raised.value)


def test_a_server_without_a_decoder_does_not_blame_the_film(
    make_dicom: Callable[..., bytes],
    recompress: Callable[[bytes, str], bytes],
    thorax: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pydicom.pixels import get_decoder
    from pydicom.uid import RLELossless

    encoded = recompress(make_dicom(thorax), RLELossless)
    assert decode_film(encoded).pixels.shape == thorax.shape
    decoder = get_decoder(RLELossless)
    monkeypatch.delitem(decoder._available, "pylibjpeg")
    with pytest.raises(ImportError, match="pylibjpeg"):
        decode_film(encoded)


def test_opencv_without_memory_is_a_fault_of_ours_and_damage_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ValueError, match="OpenCV") as damage:
        decoded_by_opencv(b"", cv2.IMREAD_UNCHANGED)
    assert not is_ours(damage.value)
    short = cv2.error("no memory")
    short.code = cv2.Error.StsNoMem

    def without_memory(*_arguments: object) -> None:
        raise short

    monkeypatch.setattr(cv2, "imdecode", without_memory)
    with pytest.raises(MemoryError) as fault:
        decoded_by_opencv(b"", cv2.IMREAD_UNCHANGED)
    assert is_ours(fault.value)


@pytest.mark.parametrize(
    "error", [ValueError(), KeyError(), RecursionError(), OSError("image file is truncated")]
)
def test_what_damage_makes_a_decoder_raise_stays_the_films(
    error: Exception,
    make_dicom: Callable[..., bytes],
    thorax: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stumble(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr("cxrclient.pixels.dicom._decoded", stumble)
    with pytest.raises(NotReadable):
        decode_film(make_dicom(thorax))


TOGETHER = """
import sys, threading
from cxrexport.preprocessing import decode_film

sys.setswitchinterval(1e-6)  # so that the threads meet
film = open(sys.argv[1], "rb").read()
begin, said = threading.Barrier(4), []

def first():
    begin.wait()
    import pydicom
    said.append(1)

def second():
    begin.wait()
    said.append(decode_film(film).pixels.size)

threads = [threading.Thread(target=work) for work in (first, second, second, second)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(said) == 4, said
print(decode_film(film).pixels.shape)
"""


@pytest.mark.parametrize("time", range(3))
@pytest.mark.parametrize("name", ["RG1_UNCR.dcm", "RG1_J2KI.dcm", "JPEG-LL.dcm"])
def test_the_first_films_may_be_decoded_in_several_threads_at_once(
    time: int, name: str, real_film: Callable[[str], bytes], tmp_path: Path
) -> None:
    """As `cxrexport manifest check` does; each time in a new process."""
    (tmp_path / name).write_bytes(real_film(name))
    command = [sys.executable, "-c", TOGETHER, str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("(")
