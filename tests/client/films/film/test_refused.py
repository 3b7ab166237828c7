"""Files that are no film, or damaged: refused, and never a crash."""

from __future__ import annotations

import io
import warnings

import cv2
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

from cxrclient.errors import FilmError, UsageError
from cxrclient.films.film import read_film
from secret_values import LEAK


def test_an_animated_png_is_several_frames(drawn_film):
    frames = [Image.fromarray((drawn_film(n) >> 4).astype(np.uint8)) for n in range(2)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(FilmError) as error:
        read_film(buffer.getvalue())
    assert (error.value.code, error.value.status) == ("MULTI_FRAME", "rejected")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_film_may_be_any_kind_of_bytes(kind, png_with_secrets):
    film = read_film(kind(png_with_secrets))
    assert (film.payload, film.path) == (read_film(png_with_secrets).payload, None)


@pytest.mark.parametrize("what", [None, 7, [b"ZORNSECRET"], {"film": "ZORNSECRET"}])
def test_what_is_no_kind_of_film_is_wrong_usage_and_not_quoted(what):
    with pytest.raises(UsageError, match="a path, the bytes of a file") as error:
        read_film(what)
    assert LEAK.search(str(error.value).encode()) is None


def test_an_open_file_that_is_no_film_is_not_quoted():
    with pytest.raises(FilmError, match="NOT_READABLE") as error:
        read_film(io.BytesIO(b"ZORNSECRET"))
    assert LEAK.search(str(error.value).encode()) is None


@pytest.mark.parametrize("data", [b"", b"hello\n", b"GIF89a" + bytes(200), b"\x08\x00", bytes(200)])
def test_what_is_no_film_is_rejected_unsent(data):
    with pytest.raises(FilmError) as error:
        read_film(data)
    assert (error.value.code, error.value.status) == ("NOT_READABLE", "rejected")
    assert "as DICOM, PNG or JPEG" in error.value.message
    assert not error.value.retriable


@pytest.mark.parametrize("kind", ["RG1_UNCR.dcm", "RG1_J2KI.dcm", "JPEG-LL.dcm", "png", "jpeg"])
def test_a_truncated_file_is_rejected_unsent(kind, request, real_film):
    if kind in ("png", "jpeg"):
        data = request.getfixturevalue(f"{kind}_with_secrets").removesuffix(b"ZORNSECRET")
    else:
        data = real_film(kind).read_bytes()
    with pytest.raises(FilmError, match=r"ends") as error:
        read_film(data[: len(data) * 2 // 3])
    assert (error.value.code, error.value.status) == ("NOT_READABLE", "rejected")


@pytest.mark.parametrize("kind", ["RG1_UNCR.dcm", "MR_small_implicit.dcm"])
def test_a_file_that_is_cut_within_its_header_ends_too_early(kind, real_film):
    data = real_film(kind).read_bytes()
    header = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
    raw = [header.get_item(tag) for tag in sorted(header.keys()) if tag.group == 0x0028]
    for end in {e.value_tell - 3 for e in raw} | {e.value_tell + e.length - 1 for e in raw}:
        with pytest.raises(FilmError, match="ends too early"):
            read_film(data[:end])


def test_an_object_without_pixels_is_rejected_unsent(tmp_path, write_dicom):
    with pytest.raises(FilmError) as error:
        read_film(write_dicom(tmp_path / "a.dcm", PixelData=None))
    assert (error.value.code, error.value.status) == ("NO_PIXELS", "rejected")


def test_an_object_of_several_frames_is_rejected_unsent(tmp_path, write_dicom, drawn_film):
    frames = np.concatenate([drawn_film(), drawn_film()])
    path = write_dicom(tmp_path / "a.dcm", frames, Rows=240, NumberOfFrames=2)
    with pytest.raises(FilmError) as error:
        read_film(path)
    assert (error.value.code, error.value.status) == ("MULTI_FRAME", "rejected")


def test_a_video_is_rejected_unsent(tmp_path, write_dicom):
    film = pydicom.dcmread(write_dicom(tmp_path / "a.dcm"))
    film.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    film.PixelData = pydicom.encaps.encapsulate([b"\0\0\1\xb3" * 4])
    film["PixelData"].is_undefined_length = True
    film.save_as(tmp_path / "b.dcm")
    with pytest.raises(FilmError, match="transfer syntax"):
        read_film(tmp_path / "b.dcm")


def test_a_deflated_bomb_is_too_large(tmp_path, write_dicom, monkeypatch):
    film = pydicom.dcmread(write_dicom(tmp_path / "a.dcm"))
    film.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    film.save_as(tmp_path / "b.dcm")
    monkeypatch.setattr("cxrclient.films.dicom_file.MAX_INFLATED_BYTES", 10_000)
    with pytest.raises(FilmError) as error:
        read_film(tmp_path / "b.dcm")
    assert error.value.code == "TOO_LARGE"


@pytest.mark.parametrize("what", ["missing.dcm", "folder", "nul\0.dcm", "loop", "x" * 300])
def test_a_path_that_cannot_be_read_is_failed_not_rejected(what, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    path = str(tmp_path / what)
    with pytest.raises(FilmError) as error:
        read_film(path)
    assert (error.value.code, error.value.status) == ("FILE_UNREADABLE", "failed")
    assert error.value.path == path


def test_a_file_larger_than_any_film_is_not_read(tmp_path):
    path = tmp_path / "huge.dcm"
    with path.open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(FilmError) as error:
        read_film(path)
    assert (error.value.code, error.value.status) == ("TOO_LARGE", "rejected")


@pytest.fixture(scope="module")
def small_films(tmp_path_factory, drawn_film, write_dicom):
    """A DICOM, a PNG, a JPEG and two encapsulated streams, small enough to damage often."""
    folder = tmp_path_factory.mktemp("small")
    pixels = drawn_film(rows=64, columns=64)
    path = write_dicom(folder / "a.dcm", pixels, WindowCenter="1000", WindowWidth="400")
    films = [path.read_bytes(), cv2.imencode(".png", pixels)[1].tobytes()]
    films.append(cv2.imencode(".jpg", (pixels >> 4).astype(np.uint8))[1].tobytes())
    for syntax in (pydicom.uid.JPEG2000Lossless, pydicom.uid.JPEGLSLossless):
        film = pydicom.dcmread(path)
        film.compress(syntax)
        film.save_as(folder / "b.dcm")
        films.append((folder / "b.dcm").read_bytes())
    return films


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(which=st.integers(0, 4), data=st.data())
def test_a_damaged_film_is_sent_or_refused_but_never_a_crash(which, data, small_films):
    film = bytearray(small_films[which])
    for _ in range(data.draw(st.integers(1, 4))):
        film[data.draw(st.integers(0, len(film) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(film)))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # of what an earlier test left
        try:
            assert read_film(bytes(film[:end])).payload
        except FilmError as error:
            assert error.code in {"NOT_READABLE", "NO_PIXELS", "TOO_LARGE", "MULTI_FRAME"}  # noqa: PT017
    assert said == []  # a warning of the parser may quote the header
