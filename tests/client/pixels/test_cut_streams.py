"""A film cut off inside its compressed stream is refused, although the stream has its end marker.

Decoders draw the part that has come and fill the rest; the file's own structure is whole.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames

from cxrclient.errors import FilmError, NotReadable
from cxrclient.pixels.codecs.claims import bare_jpeg
from cxrclient.pixels.codecs.jpeg_words import means_damage
from cxrexport.preprocessing import decode_film

MakeDicom = Callable[..., bytes]
Recompress = Callable[[bytes, str], bytes]

GOLDEN = Path(__file__).with_name("golden")
JPEG = "1.2.840.10008.1.2.4."
SHARES = [0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.99]
END = b"\xff\xd9"


class Stream(NamedTuple):
    """A compressed film: its bytes, transfer syntax, and the bits that are stored."""

    encoded: bytes
    syntax: str
    bits: int
    shape: tuple[int, int]

    def in_dicom(self, make_dicom: MakeDicom, stream: bytes | None = None) -> bytes:
        kind = np.uint8 if self.bits == 8 else np.uint16
        dataset = dcmread(io.BytesIO(make_dicom(np.zeros(self.shape, kind), BitsStored=self.bits)))
        dataset.PixelData = encapsulate([self.encoded if stream is None else stream])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = self.syntax
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()

    @property
    def is_jpeg(self) -> bool:
        return self.encoded.startswith(b"\xff\xd8")

    @property
    def data(self) -> tuple[int, int]:
        """Where the compressed samples begin and end."""
        if self.is_jpeg:
            scan = self.encoded.index(b"\xff\xda")
            behind = scan + 2 + int.from_bytes(self.encoded[scan + 2 : scan + 4], "big")
            return behind, self.encoded.rindex(END)
        if self.syntax.startswith(JPEG):
            return self.encoded.index(b"\xff\x93") + 2, self.encoded.rindex(END)
        return 64, len(self.encoded)  # behind RLE's header

    def cut(self, share: float) -> bytes:
        begin, end = self.data
        kept = self.encoded[: begin + int(share * (end - begin))].rstrip(b"\xff")
        return kept + self.encoded[end:]

    def zeroed(self, share: float) -> bytes:
        begin, end = self.data
        kept = self.encoded[: begin + int(share * (end - begin))]
        return kept + bytes(end - len(kept)) + self.encoded[end:]


def jpeg(pixels: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(".jpg", pixels, list(options))[1].tobytes()


@pytest.fixture(scope="module")
def films(thorax: np.ndarray) -> dict[int, np.ndarray]:
    """One film in 8, 12 and 16 bits, with noise in all of them."""
    fine = np.random.default_rng(3).integers(0, 16, thorax.shape).astype(np.uint16)
    return {8: (thorax >> 4).astype(np.uint8), 12: thorax, 16: (thorax << 4) | fine}


STREAMS = [
    "baseline",
    "baseline, best tables",
    "baseline, restarts",
    "progressive",
    "extended 12",
    *(f"lossless {process} {bits}" for process in ("57", "70") for bits in (8, 12, 16)),
    *(f"JPEG-LS {bits}" for bits in (8, 12, 16)),
    "JPEG-LS near 12",
    *(f"JPEG 2000 {bits}" for bits in (8, 12, 16)),
    "JPEG 2000 lossy 12",
    "HTJ2K 12",
    *(f"RLE {bits}" for bits in (8, 12, 16)),
]
BY_BLOCKS = STREAMS[:4]


@pytest.fixture(scope="module")
def streams(
    films: dict[int, np.ndarray], make_dicom: MakeDicom, recompress: Recompress
) -> dict[str, Stream]:
    found = {
        name: Stream(jpeg(films[8], *options), JPEG + "50", 8, films[8].shape)
        for name, options in {
            "baseline": (),
            "baseline, best tables": (cv2.IMWRITE_JPEG_OPTIMIZE, 1),
            "baseline, restarts": (cv2.IMWRITE_JPEG_RST_INTERVAL, 5),
            "progressive": (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        }.items()
    }
    small = (40, 32)
    extended = (GOLDEN / "extended_12bit.jpg").read_bytes()
    found["extended 12"] = Stream(extended, JPEG + "51", 12, small)
    high = (GOLDEN / "htj2k_lossless_12bit.j2c").read_bytes()
    found["HTJ2K 12"] = Stream(high, JPEG + "201", 12, small)

    def frame_of(encoded: bytes) -> bytes:
        frame = next(generate_frames(dcmread(io.BytesIO(encoded)).PixelData, number_of_frames=1))
        return bytes(frame)

    for bits, pixels in films.items():
        plain = make_dicom(pixels, BitsStored=bits)
        for name, syntax in {
            "lossless 57": JPEG + "57",
            "lossless 70": JPEG + "70",
            "JPEG-LS": JPEG + "80",
            "JPEG 2000": JPEG + "90",
            "RLE": "1.2.840.10008.1.2.5",
        }.items():
            frame = frame_of(recompress(plain, syntax))
            found[f"{name} {bits}"] = Stream(frame, syntax, bits, pixels.shape)
    plain = make_dicom(films[12], BitsStored=12)
    lossy = {
        "JPEG-LS near 12": ("81", {"jls_error": 2}),
        "JPEG 2000 lossy 12": ("91", {"j2k_cr": [20, 5]}),
    }
    for name, (number, options) in lossy.items():
        dataset, buffer = dcmread(io.BytesIO(plain)), io.BytesIO()
        dataset.compress(JPEG + number, generate_instance_uid=False, **options)
        dataset.save_as(buffer, enforce_file_format=True)
        found[name] = Stream(frame_of(buffer.getvalue()), JPEG + number, 12, films[12].shape)
    assert sorted(found) == sorted(STREAMS)
    return found


def refused(encoded: bytes) -> str:
    """The code with which a film ends; "ok" for one that is drawn."""
    try:
        decode_film(encoded)
    except FilmError as error:
        return error.code
    return "ok"


# --- cuts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_off_in_front_of_its_end_marker_is_not_readable(
    name: str, share: float, streams: dict[str, Stream], make_dicom: MakeDicom
) -> None:
    stream = streams[name]
    forms = [stream.in_dicom(make_dicom, stream.cut(share))]
    forms += [stream.cut(share)] if stream.is_jpeg else []
    assert [refused(form) for form in forms] == ["NOT_READABLE"] * len(forms)


@pytest.mark.parametrize("name", STREAMS)
def test_the_whole_stream_is_the_film(
    name: str, streams: dict[str, Stream], films: dict[int, np.ndarray], make_dicom: MakeDicom
) -> None:
    stream = streams[name]
    film = decode_film(stream.in_dicom(make_dicom))
    if stream.is_jpeg:
        np.testing.assert_array_equal(decode_film(stream.encoded).pixels, film.pixels)
    if name in BY_BLOCKS:
        expected = cv2.imdecode(np.frombuffer(stream.encoded, np.uint8), cv2.IMREAD_GRAYSCALE)
    elif stream.shape == (40, 32):
        source = "extended_12bit.npy" if name == "extended 12" else "film_12bit.npy"
        expected = np.load(GOLDEN / source)
    elif "near" in name or "lossy" in name:
        return  # compared with other decoders in test_pydicom_files.py
    else:
        expected = films[stream.bits]
    plain = decode_film(make_dicom(expected, BitsStored=stream.bits))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


@pytest.mark.parametrize("name", ["baseline", "baseline, restarts", "progressive"])
def test_no_single_byte_is_lacking(name: str, thorax: np.ndarray) -> None:
    """Wherever the cut lies: between scans, between restarts, or in front of the last byte."""
    small = cv2.resize((thorax >> 4).astype(np.uint8), (48, 40))
    options = {
        "baseline": (),
        "baseline, restarts": (cv2.IMWRITE_JPEG_RST_INTERVAL, 3),
        "progressive": (cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    }[name]
    stream = Stream(jpeg(small, *options), JPEG + "50", 8, small.shape)
    begin, end = stream.data
    assert refused(stream.encoded) == "ok"
    drawn = [
        end - at
        for at in range(begin, end)
        if refused(stream.encoded[:at].rstrip(b"\xff") + END) != "NOT_READABLE"
    ]
    assert drawn == []


@pytest.mark.parametrize("share", SHARES)
def test_a_png_cut_off_with_right_checksums_is_not_readable(
    share: float, films: dict[int, np.ndarray]
) -> None:
    encoded = cv2.imencode(".png", films[12])[1].tobytes()
    bodies = b"".join(
        encoded[m.end() : m.end() + int.from_bytes(encoded[m.start() - 4 : m.start()], "big")]
        for m in re.finditer(b"IDAT", encoded)
    )
    body = bodies[: int(share * len(bodies))]
    chunk = struct.pack(">I", len(body)) + b"IDAT" + body
    chunk += struct.pack(">I", zlib.crc32(chunk[4:]))
    assert refused(encoded[:33] + chunk + encoded[-12:]) == "NOT_READABLE"


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"])
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.filterwarnings("ignore:End of file reached")
def test_an_object_cut_off_in_its_pixels_is_not_readable(
    syntax: str, share: float, films: dict[int, np.ndarray], make_dicom: MakeDicom
) -> None:
    encoded = make_dicom(films[12], syntax=syntax)
    assert refused(encoded[: 1500 + int(share * (len(encoded) - 1500))]) == "NOT_READABLE"


# --- zeros in the place of the end, as in a file that was being written ---------------------------

# OpenJPEG takes zeros for packets without content.
ZEROS_ARE_SEEN = [name for name in STREAMS if not name.startswith("JPEG 2000")]


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", ZEROS_ARE_SEEN)
def test_a_stream_of_which_the_end_is_zeros_is_not_readable(
    name: str, share: float, streams: dict[str, Stream], make_dicom: MakeDicom
) -> None:
    stream = streams[name]
    assert refused(stream.in_dicom(make_dicom, stream.zeroed(share))) == "NOT_READABLE"


@pytest.mark.parametrize("name", STREAMS)
def test_zeros_up_to_the_end_of_the_file_are_not_readable(
    name: str, streams: dict[str, Stream], make_dicom: MakeDicom
) -> None:
    stream = streams[name]
    encoded = stream.in_dicom(make_dicom)
    half = encoded.index(stream.encoded[:64]) + sum(stream.data) // 2
    assert refused(encoded[:half] + bytes(len(encoded) - half)) == "NOT_READABLE"


# --- what is odd and whole ------------------------------------------------------------------------


def behind_the_start(encoded: bytes, segment: bytes) -> bytes:
    return encoded[:2] + segment + encoded[2:]


def progressive_header(encoded: bytes) -> bytes:
    """The first coefficient only, in a baseline scan."""
    data = encoded.index(b"\xff\xda")
    data += 2 + int.from_bytes(encoded[data + 2 : data + 4], "big")
    return encoded[: data - 3] + bytes(3) + encoded[data:]


ODDITIES: dict[str, Callable[[bytes], bytes]] = {
    "padding behind the end marker": lambda e: e + bytes(99),
    "fill bytes in front of it": lambda e: e[:-2] + b"\xff" * 5 + END,
    "zeros in front of it": lambda e: e[:-2] + bytes(3) + END,
    "many zeros in front of it": lambda e: e[:-2] + bytes(4000) + END,
    "a JFIF of another version": lambda e: e.replace(b"JFIF\0\1", b"JFIF\0\2", 1),
    "half a colour profile": lambda e: behind_the_start(e, b"\xff\xe2\0\x14ICC_PROFILE\0\2\2abcd"),
    "an unknown Adobe transform": lambda e: behind_the_start(
        e, b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\7"
    ),
    "a scan that says what only progressive ones say": lambda e: progressive_header(e),
}


@pytest.mark.parametrize(("form", "channels"), [("file", 1), ("file", 3), ("DICOM", 1)])
@pytest.mark.parametrize("oddity", ODDITIES)
def test_a_whole_jpeg_with_an_oddity_is_the_film_and_a_cut_one_is_not(
    oddity: str,
    form: str,
    channels: int,
    films: dict[int, np.ndarray],
    make_dicom: MakeDicom,
) -> None:
    """libjpeg says its first remark only: an oddity must not hide the cut behind it."""
    plain = jpeg(cv2.merge([films[8]] * channels))
    whole = Stream(plain, JPEG + "50", 8, films[8].shape)

    def film(encoded: bytes) -> bytes:
        return encoded if form == "file" else whole.in_dicom(make_dicom, encoded)

    def odd(encoded: bytes) -> bytes:
        made = ODDITIES[oddity](encoded)
        assert made != encoded
        return film(made)

    np.testing.assert_array_equal(decode_film(odd(plain)).pixels, decode_film(film(plain)).pixels)
    for share in (0.3, 0.99):
        assert refused(odd(whole.cut(share))) == "NOT_READABLE"


def in_three_scans(grey: bytes, factors: int) -> bytes:
    """A grey baseline JPEG as luminance of any sampling beside two components of no colour.

    A scan of one component is the same whatever its sampling, and the blocks of no colour are a
    DC difference of none (00) and an end of block (1010) each. Source: ITU-T T.81, A.2.2 and K.3.
    """
    frame, scan = grey.index(b"\xff\xc0"), grey.index(b"\xff\xda")
    rows, columns = struct.unpack_from(">HH", grey, frame + 5)
    data = grey[scan + 10 : grey.rindex(END)]
    across, down = math.ceil(columns / (factors >> 4)), math.ceil(rows / (factors & 15))
    blocks = math.ceil(across / 8) * math.ceil(down / 8)
    bits = "001010" * blocks
    bits += "1" * (-len(bits) % 8)
    none = int(bits, 2).to_bytes(len(bits) // 8, "big")
    components = bytes([1, factors, 0, 2, 0x11, 0, 3, 0x11, 0])
    header = struct.pack(">HHBHHB", 0xFFC0, 17, 8, rows, columns, 3) + components
    scans = [
        b"\xff\xda\0\x08\1" + bytes([n, 0, 0, 63, 0]) + part
        for n, part in ((1, data), (2, none), (3, none))
    ]
    return grey[:frame] + header + grey[frame + 13 : scan] + b"".join(scans) + END


@pytest.mark.parametrize("factors", [0x31, 0x42, 0x13, 0x22, 0x11])
def test_whatever_its_sampling_a_whole_jpeg_is_read_and_a_cut_one_is_not(
    factors: int, films: dict[int, np.ndarray]
) -> None:
    """TurboJPEG has no name for 3x1, 4x2 and 1x3, and decodes none of them."""
    plain = jpeg(films[8])
    encoded = in_three_scans(plain, factors)
    np.testing.assert_array_equal(decode_film(encoded).pixels, decode_film(plain).pixels)
    second = encoded.index(b"\xff\xda\0\x08\1\2")
    for lacking in (1, 9, 4000):
        assert refused(encoded[: second - lacking] + encoded[second:]) == "NOT_READABLE"


@pytest.mark.parametrize("arithmetic", [0xC9, 0xCA])
def test_arithmetic_coding_is_refused_because_its_end_cannot_be_checked(
    arithmetic: int, films: dict[int, np.ndarray]
) -> None:
    encoded = bytearray(jpeg(films[8]))
    encoded[encoded.index(b"\xff\xc0") + 1] = arithmetic
    with pytest.raises(NotReadable, match="arithmetic"):
        decode_film(bytes(encoded))


def test_a_stream_without_end_marker_is_not_readable(streams: dict[str, Stream]) -> None:
    assert refused(streams["baseline"].encoded[:-2]) == "NOT_READABLE"


# --- scans ----------------------------------------------------------------------------------------


def scans_of(encoded: bytes) -> tuple[bytes, list[bytes]]:
    """A JPEG's head, and its scans with the tables in front of each."""
    starts = [m.start() for m in re.finditer(b"\xff\xda", encoded)]
    head = encoded.index(b"\xff\xc4")
    ends = [
        starts[n] + 2 + re.search(rb"\xff[\x80-\xcf\xd8-\xfe]", encoded[starts[n] + 2 :]).start()  # type: ignore[union-attr]
        for n in range(len(starts))
    ]
    return encoded[:head], [encoded[a:b] for a, b in zip([head, *ends[:-1]], ends, strict=True)]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_progressive_jpeg_lacks_no_scan(channels: int, films: dict[int, np.ndarray]) -> None:
    """Each scan is whole, and so no decoder says a word."""
    image = cv2.merge([films[8]] * channels)
    head, scans = scans_of(jpeg(image, cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
    assert len(scans) > 5
    assert refused(head + b"".join(scans) + END) == "ok"
    for n in range(1, len(scans)):
        assert refused(head + b"".join(scans[:n]) + END) == "NOT_READABLE", n


# --- pixels ---------------------------------------------------------------------------------------


def by_others(encoded: bytes) -> list[np.ndarray]:
    """The green channel, or the only one, by OpenCV and by Pillow."""
    mode = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION
    images = [
        cv2.imdecode(np.frombuffer(encoded, np.uint8), mode),
        np.asarray(Image.open(io.BytesIO(encoded))),
    ]
    return [image if image.ndim == 2 else image[..., 1] for image in images]


FACTORS = {
    "4:1:1": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:4:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440,
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}


@pytest.mark.parametrize("size", [(8, 8), (17, 33), (61, 47), (200, 301)])
@pytest.mark.parametrize("kind", ["grey", *FACTORS])
def test_the_pixels_are_those_of_opencv_and_pillow(
    kind: str, size: tuple[int, int], films: dict[int, np.ndarray], make_dicom: MakeDicom
) -> None:
    grey = cv2.resize(films[8], size[::-1])
    image = grey if kind == "grey" else cv2.merge([grey] * 3)
    sampling = [] if kind == "grey" else [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, FACTORS[kind]]
    for quality in (40, 92):
        for progressive in (0, 1):
            for restart in (0, 3):
                encoded = jpeg(image, cv2.IMWRITE_JPEG_QUALITY, quality,
                               cv2.IMWRITE_JPEG_PROGRESSIVE, progressive,
                               cv2.IMWRITE_JPEG_RST_INTERVAL, restart, *sampling)  # fmt: skip
                film = decode_film(encoded).pixels
                for expected in by_others(encoded):
                    plain = decode_film(make_dicom(np.ascontiguousarray(expected)))
                    np.testing.assert_array_equal(film, plain.pixels)


def test_real_films_have_the_pixels_that_opencv_gives(
    shared_data: Path, make_dicom: MakeDicom
) -> None:
    files = sorted(shared_data.glob("*/images/*.jpg"))[::40]
    assert len(files) > 20
    for file in files:
        encoded = file.read_bytes()
        expected = by_others(encoded)[0]
        np.testing.assert_array_equal(
            decode_film(encoded).pixels,
            decode_film(make_dicom(np.ascontiguousarray(expected))).pixels,
        )


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "damage"),
    [
        ("", False),
        ("Corrupt JPEG data: premature end of data segment\n", True),
        ("Corrupt JPEG data: bad Huffman code\n", True),
        ("Corrupt JPEG data: found marker 0xd9 instead of RST3\n", True),
        ("Premature end of JPEG file\n", True),
        ("Inconsistent progression sequence for component 0 coefficient 1\n", True),
        ("Corrupt JPEG data: 9 extraneous bytes before marker 0xd3\n", True),
        ("Corrupt JPEG data: 9 extraneous bytes before marker 0xd9\n", True),
        ("Corrupt JPEG data: 4 extraneous bytes before marker 0xd9\n", False),
        ("Corrupt JPEG data: bad ICC marker\n", False),
        ("Warning: unknown JFIF revision number 2.01\n", False),
        ("Invalid SOS parameters for sequential JPEG\n", False),
        ("something\nPremature end of JPEG file\n", True),
    ],
)
def test_a_decoder_s_words_mean_damage_or_an_oddity(words: str, damage: bool) -> None:
    assert means_damage(words, b"\xff\xd8...\x17" + bytes(6) + END) is damage


def test_zeros_where_restarts_should_be_are_no_padding() -> None:
    stream = b"\xff\xd8\xff\xdd\0\4\0\5...\x17" + bytes(6) + END
    assert means_damage("Corrupt JPEG data: 6 extraneous bytes before marker 0xd9", stream)


def test_a_bare_jpeg_says_in_its_scan_what_a_sequential_one_says(
    films: dict[int, np.ndarray],
) -> None:
    encoded = jpeg(films[8])
    scan = encoded.index(b"\xff\xda")
    odd = encoded[: scan + 7] + b"\0\0\x11" + encoded[scan + 10 :]
    assert bare_jpeg(odd) == bare_jpeg(encoded)
