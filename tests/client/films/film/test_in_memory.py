"""Films that are in memory: each becomes the file that it would have been."""

from __future__ import annotations

import io
import zipfile

import cv2
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import ImplicitVRLittleEndian

from cxrclient.errors import CxrClientError, FilmError, UsageError
from cxrclient.films import Film, read_film
from secret_values import LEAK


def decoded(film: Film) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(film.payload, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(200 * 333, dtype=np.uint16).reshape(200, 333),
        np.arange(200 * 333, dtype=np.uint16).reshape(200, 333)[::-2, ::3],
        np.arange(12, dtype=np.uint8).reshape(3, 4),
        np.arange(12, dtype=">u2").reshape(3, 4),
        np.arange(12, dtype=np.int64).reshape(3, 4),
        np.arange(12, dtype=np.uint8).reshape(3, 4, 1),
    ],
    ids=["16 bits", "a view", "8 bits", "big endian", "int64", "one channel"],
)
def test_whole_numbers_that_fit_stay_as_they_are(array):
    np.testing.assert_array_equal(decoded(read_film(array)), array.squeeze())


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        ([[-1000, 0], [3000, 2]], [[0, 1000], [4000, 1002]]),
        ([[-1.5, 0.0], [0.5, 0.0]], [[0, 49151], [65535, 49151]]),
        ([[0, 2**31], [2**32, 0]], [[0, 32768], [65535, 0]]),
        ([[7.5, 7.5]], [[0, 0]]),
    ],
    ids=["below zero", "floating point", "more than 16 bits", "constant"],
)
def test_other_numbers_are_moved_or_stretched_over_16_bits(array, expected):
    np.testing.assert_array_equal(decoded(read_film(np.array(array))), expected)


def test_half_precision_is_stretched_without_overflow():
    half = decoded(read_film(np.array([[-60000, 0, 60000]], np.float16)))
    np.testing.assert_array_equal(half, [[0, 32768, 65535]])


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours_and_alpha_are_left_to_the_server_to_judge(channels):
    array = np.arange(5 * 4 * channels, dtype=np.uint8).reshape(5, 4, channels)
    image = Image.open(io.BytesIO(read_film(array).payload))
    np.testing.assert_array_equal(np.asarray(image), array)


def test_the_same_array_is_the_same_film_on_every_machine():
    film = read_film(np.arange(6, dtype=np.uint16).reshape(2, 3))
    assert film.film_id == "a642a0d42bb0c9a86e0cd99cc500c54b0aecbc1ceed58a8623296b8ec77aaa46"
    assert film.path is None


@pytest.mark.parametrize(
    ("array", "code", "said"),
    [
        (np.zeros((2, 64, 64)), "NOT_READABLE", r"\[2, 64, 64\].*Give one film"),
        (np.zeros(64), "NOT_READABLE", "rows, columns"),
        (np.zeros((0, 5)), "NOT_READABLE", "rows, columns"),
        (np.array([[1.0, np.nan]]), "NOT_READABLE", "not finite"),
        (np.array([[1.0, -np.inf]]), "NOT_READABLE", "not finite"),
        (np.zeros((2, 2), complex), "NOT_READABLE", "complex128"),
        (np.array([["a"]]), "NOT_READABLE", "<U1"),
        (np.broadcast_to(np.uint8(0), (20_000, 20_000)), "TOO_LARGE", "100,000,000 pixels"),
    ],
)
def test_an_array_that_is_no_film_is_rejected_and_says_why(array, code, said):
    with pytest.raises(FilmError, match=said) as error:
        read_film(array)
    assert (error.value.code, error.value.status) == (code, "rejected")


@pytest.mark.parametrize("mode", ["L", "I;16", "I", "F", "1", "P", "RGB", "RGBA", "CMYK", "LA"])
def test_an_image_of_pillow_has_the_pixels_that_it_shows(mode, drawn_film):
    grey = (drawn_film(rows=40, columns=30) >> 4).astype(np.uint8)
    image = Image.fromarray(grey).convert(mode) if mode != "I;16" else Image.fromarray(
        grey.astype(np.uint16)
    )  # fmt: skip
    assert image.mode == mode
    pixels = decoded(read_film(image))
    shown = pixels if pixels.ndim == 2 else pixels[..., 0]
    expected = np.asarray(image.convert("L")) if mode == "1" else grey
    if mode == "F":
        assert np.corrcoef(shown.ravel(), expected.ravel())[0, 1] > 0.9999
    else:
        np.testing.assert_array_equal(shown, expected)


def test_of_an_image_only_the_pixels_are_taken(png_with_secrets):
    film = read_film(Image.open(io.BytesIO(png_with_secrets)))
    assert LEAK.search(png_with_secrets)
    assert LEAK.search(film.payload) is None
    np.testing.assert_array_equal(decoded(film), decoded(read_film(png_with_secrets)))


def test_an_image_of_several_frames_or_of_a_closed_file_is_rejected(drawn_film, tmp_path):
    frames = [Image.fromarray((drawn_film(n) >> 4).astype(np.uint8)) for n in range(2)]
    frames[0].save(tmp_path / "two.tiff", save_all=True, append_images=frames[1:])
    with (
        Image.open(tmp_path / "two.tiff") as image,
        pytest.raises(FilmError, match="MULTI_FRAME") as error,
    ):
        read_film(image)
    assert error.value.path == str(tmp_path / "two.tiff")
    frames[0].save(tmp_path / "one.png")
    image = Image.open(tmp_path / "one.png")
    image.close()
    with pytest.raises(FilmError, match="NOT_READABLE: Pillow cannot read the image"):
        read_film(image)


def test_a_data_set_is_the_film_that_its_file_is(
    tmp_path, write_dicom, recompress, lossless_syntax
):
    path = write_dicom(tmp_path / "a.dcm", PatientID="7", WindowCenter=2000, WindowWidth=3000)
    path.write_bytes(recompress(path.read_bytes(), lossless_syntax))
    assert read_film(pydicom.dcmread(path)) == read_film(path)


def test_a_data_set_whose_elements_were_looked_at_is_still_the_same_film(tmp_path, write_dicom):
    path = write_dicom(
        tmp_path / "a.dcm", PatientID="Zörn 7", PatientAge="042Y", SpecificCharacterSet="ISO_IR 100"
    )
    data_set = pydicom.dcmread(path)
    str(data_set)
    assert data_set.pixel_array.shape == (240, 200)
    assert read_film(data_set) == read_film(path)
    assert read_film(pydicom.dcmread(path, defer_size=1000)) == read_film(path)


def test_a_data_set_that_was_never_a_file_is_a_film_too(tmp_path, write_dicom):
    path = write_dicom(tmp_path / "a.dcm")
    made = pydicom.Dataset()
    for element in pydicom.dcmread(path):
        made.add_new(element.tag, element.VR, element.value)
    film = read_film(made)
    assert film.path is None
    assert (film.film_id, film.payload) == (read_film(path).film_id, read_film(path).payload)
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    assert pydicom.dcmread(io.BytesIO(read_film(made).payload)).PixelData == made.PixelData


def test_a_data_set_without_an_image_or_with_what_cannot_be_written_is_rejected(
    write_dicom, tmp_path
):
    with pytest.raises(FilmError, match="NO_PIXELS"):
        read_film(pydicom.dcmread(write_dicom(tmp_path / "a.dcm", PixelData=None)))
    data_set = pydicom.dcmread(write_dicom(tmp_path / "b.dcm"))
    data_set.Rows = "many"
    with pytest.raises(FilmError, match="NOT_READABLE: The data set cannot be written"):
        read_film(data_set)


def test_an_open_file_is_read_to_its_end_and_keeps_its_name(tmp_path, write_dicom):
    path = write_dicom(tmp_path / "a.dcm")
    with path.open("rb") as file:
        assert read_film(file) == read_film(path)
        with pytest.raises(FilmError, match=r"NOT_READABLE: Nothing is left .* file.seek\(0\)"):
            read_film(file)
    with zipfile.ZipFile(tmp_path / "films.zip", "w") as archive:
        archive.write(path, "below/a.dcm")
    with zipfile.ZipFile(tmp_path / "films.zip") as archive, archive.open("below/a.dcm") as file:
        film = read_film(file)
    assert (film.path, film.payload) == ("below/a.dcm", read_film(path).payload)
    in_memory = read_film(io.BytesIO(path.read_bytes()))
    assert (in_memory.path, in_memory.payload) == (None, film.payload)


class _Slow(io.RawIOBase):
    """Gives a few bytes a call, as a socket does."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, 4096))


def test_an_open_file_may_give_less_than_it_is_asked_for(tmp_path, write_dicom):
    path = write_dicom(tmp_path / "a.dcm")
    assert read_film(_Slow(path.read_bytes())).payload == read_film(path).payload


def test_an_open_file_that_gives_no_film_says_why(tmp_path, write_dicom, monkeypatch):
    path = write_dicom(tmp_path / "a.dcm")
    with (
        path.open(encoding="latin-1") as file,
        pytest.raises(UsageError, match=r'open\(path, "rb"\)'),
    ):
        read_film(file)
    with pytest.raises(FilmError, match=r"FILE_UNREADABLE.*Leave it open") as error:
        read_film(file)
    assert (error.value.status, error.value.path) == ("failed", str(path))
    monkeypatch.setattr("cxrclient.films.film.MAX_FILE_BYTES", 1000)
    with path.open("rb") as file, pytest.raises(FilmError, match="TOO_LARGE"):
        read_film(file)


@pytest.mark.parametrize("source", [17, None, ["a.dcm"], object(), Film(film_id="1")])
def test_what_is_no_film_at_all_says_what_would_be_one(source):
    with pytest.raises(CxrClientError, match=r"numpy array.*pydicom\.Dataset, not an object of"):
        read_film(source)
