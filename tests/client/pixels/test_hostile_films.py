"""Films that somebody made to hurt are refused by both sides, before they cost; good ones are not.

What they cost is measured by benchmarks/hostile_films.py; no test asserts how fast a machine is.
"""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, RLELossless

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
if str(BENCHMARKS) not in sys.path:
    sys.path.append(str(BENCHMARKS))  # behind everything else: their names are common words

from hostile import (  # noqa: E402
    dicom as hostile_dicom,
    images as hostile_images,
)
from hostile.material import CLEANED, HOSTILE  # noqa: E402
from hostile_films import costs_of  # noqa: E402

import cxrclient.errors  # noqa: E402
from cxrclient.errors import FilmError, NotReadable, TooLarge  # noqa: E402
from cxrclient.films.film import read_film  # noqa: E402
from cxrclient.pages.film_folder import FilmFolder  # noqa: E402
from cxrclient.pixels import dicom, raster  # noqa: E402
from cxrclient.pixels.codecs.jpeg2000_pieces import refuse_many_pieces  # noqa: E402
from cxrexport.preprocessing import decode_film  # noqa: E402

MOST_MB = 512
# These are read to their end: a flat film, or a colour one, is known by its pixels.
DECODED = [name for name, film in HOSTILE.items() if film.server in ("CONSTANT", "COLOUR")]
AT_HEADER = [name for name in HOSTILE if name not in DECODED]


@pytest.fixture(scope="module")
def costs() -> dict[str, dict[str, Any]]:
    return costs_of(AT_HEADER)


@pytest.fixture(scope="module")
def costs_when_decoded() -> dict[str, dict[str, Any]]:
    return costs_of(DECODED)


def assert_refused_in_little(name: str, cost: dict[str, Any]) -> None:
    film = HOSTILE[name]
    assert cost["server"]["code"] == film.server
    assert cost["client"]["code"] == ("ok" if film.client == CLEANED else film.client)
    sent = {"ok": film.server, CLEANED: "ok"}.get(film.client, "-")  # - is nothing
    assert cost["sent"]["code"] == sent
    assert cost["server"]["peak_mb"] < MOST_MB
    assert cost["client"]["peak_mb"] + cost["sent"]["peak_mb"] < MOST_MB


@pytest.mark.parametrize("name", AT_HEADER)
def test_a_hostile_film_is_refused_by_each_side_in_less_than_512_mb(
    name: str, costs: dict[str, dict[str, Any]]
) -> None:
    """Or passed on without what hurts. A process that takes two minutes is ended, and fails."""
    assert_refused_in_little(name, costs[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", DECODED)
def test_a_film_that_must_be_decoded_to_be_refused_takes_less_than_512_mb(
    name: str, costs_when_decoded: dict[str, dict[str, Any]]
) -> None:
    assert_refused_in_little(name, costs_when_decoded[name])


@pytest.mark.parametrize("name", [n for n, film in HOSTILE.items() if film.server == "TOO_LARGE"])
def test_no_pixel_is_decoded_of_what_the_header_refuses(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def decode(*_: object, **__: object) -> None:
        decoded.append(name)
        raise ValueError

    for place in (raster, dicom):
        for name_of_decoder in ("_pixels", "_decoded", "decode_medical", "decode_eight_bits"):
            monkeypatch.setattr(place, name_of_decoder, decode, raising=False)
    with pytest.raises(TooLarge, match=r"no film has|any film|can hold"):
        decode_film(HOSTILE[name].make())
    assert not decoded


def test_eight_bombs_at_once_take_the_client_as_much_as_one(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.dcm"
    bomb.write_bytes(HOSTILE["deflated, 2 GB"].make())
    program = f"""
import json, sys
from concurrent.futures import ThreadPoolExecutor
sys.path.append({str(BENCHMARKS)!r})
from hostile_films import _memory_kb
from hostile.dicom import film_with
from cxrclient.errors import FilmError
from cxrclient.films.film import read_film

def code(path):
    try:
        return read_film(path) and "ok"
    except FilmError as error:
        return error.code

read_film(film_with())
before_kb = _memory_kb("VmRSS")
with ThreadPoolExecutor(8) as eight:
    codes = list(eight.map(code, [{str(bomb)!r}] * 8))
print(json.dumps([codes, _memory_kb("VmHWM") - before_kb]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    codes, peak_kb = json.loads(done.stdout)
    assert codes == ["TOO_LARGE"] * 8
    assert peak_kb < MOST_MB * 1000


def test_a_folder_with_bombs_is_looked_through_in_little(tmp_path: Path) -> None:
    """Where a neighbour's film is looked for, of each file its id is read."""
    for name in ("deflated, 2 GB", "a sequence nobody reads, a million items, undefined length"):
        (tmp_path / f"{name}.dcm").write_bytes(HOSTILE[name].make())
    uid = b"1.2.3.4 "
    film = hostile_dicom.dicom_object(
        hostile_dicom.EXPLICIT, hostile_dicom.element(0x00080018, "UI", uid)
    )
    (tmp_path / "z.dcm").write_bytes(film)
    tracemalloc.start()
    try:
        found = dict(FilmFolder(tmp_path).find(["1.2.3.4"]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert {uid: film.path for uid, film in found.items()} == {"1.2.3.4": str(tmp_path / "z.dcm")}
    assert peak < MOST_MB * 1000_000


def both_sides(encoded: bytes) -> np.ndarray:
    """Decode a film as it is and as the client sends it: the same."""
    pixels = decode_film(encoded).pixels
    np.testing.assert_array_equal(decode_film(read_film(encoded).payload).pixels, pixels)
    return pixels


def refused(encoded: bytes) -> None:
    with pytest.raises(TooLarge):
        decode_film(encoded)
    with pytest.raises(cxrclient.errors.FilmError) as caught:
        read_film(encoded)
    assert caught.value.code == "TOO_LARGE"


def test_a_progressive_jpeg_of_100_scans_is_read_and_of_101_is_not() -> None:
    film = hostile_images.many_scans(100, 256)
    grey = np.random.default_rng(1).integers(0, 256, (32, 32), np.uint8)
    squares = np.kron(grey, np.ones((8, 8), np.uint8))
    np.testing.assert_array_equal(
        both_sides(film), decode_film(cv2.imencode(".png", squares)[1].tobytes()).pixels
    )
    refused(hostile_images.many_scans(101, 256))


def test_jpeg_2000_of_16384_tiles_is_read(make_dicom: Callable[..., bytes]) -> None:
    from openjpeg.utils import encode_array

    y, x = np.mgrid[0:32, 0:32]
    tile = (y // 4 * 8 + x // 4).astype(np.uint8)
    stream = bytes(encode_array(tile))
    start, data = stream.index(b"\xff\x90"), stream.index(b"\xff\x93") + 2
    head = bytearray(stream[:start])
    struct.pack_into(">II", head, 8, 4096, 4096)  # the image; its tiles stay at 32 x 32
    body = stream[data:-2]

    def tiles(count: int) -> bytes:
        starts = (struct.pack(">HHHIBB", 0xFF90, 10, n, 14 + len(body), 0, 1) for n in range(count))
        parts = [part + b"\xff\x93" + body for part in starts]
        return b"".join((bytes(head), *parts, b"\xff\xd9"))

    film = both_sides(
        hostile_dicom.encapsulated(JPEG2000Lossless, tiles(16_384), size=(4096, 4096), bits=8)
    )
    plain = decode_film(make_dicom(np.tile(tile, (128, 128)))).pixels
    np.testing.assert_array_equal(film, plain)


@pytest.mark.parametrize("parts", [1, 2])
def test_a_jpeg_2000_that_lacks_a_tile_or_a_part_of_one_is_not_readable(parts: int) -> None:
    """OpenJPEG draws the others and says nothing."""
    whole = hostile_images.empty_jpeg2000((64, 64), (16, 16), parts=parts)
    refuse_many_pieces(whole)
    last_part = whole.rindex(b"\xff\x90\x00\x0a")  # SOT, and how long it is
    with pytest.raises(NotReadable):
        refuse_many_pieces(whole[:last_part] + b"\xff\xd9")


@pytest.mark.slow
def test_grey_of_100_million_pixels_of_16_bits_is_read() -> None:
    assert decode_film(hostile_images.png(10_000, 16, 0)).pixels.shape == (10_000, 10_000)


def test_a_film_with_many_look_up_tables_windows_and_fragments_is_read(
    make_dicom: Callable[..., bytes], thorax: np.ndarray
) -> None:
    """A hundred times what films have."""
    plain = dcmread(io.BytesIO(make_dicom(thorax)))
    plain.compress(JPEG2000Lossless)
    frame = next(iter_frames(plain))
    plain.PixelData = encapsulate([frame], fragments_per_frame=1000)
    plain["PixelData"].is_undefined_length = True
    buffer = io.BytesIO()
    plain.save_as(buffer, enforce_file_format=True)
    np.testing.assert_array_equal(
        both_sides(buffer.getvalue()), decode_film(make_dicom(thorax)).pixels
    )

    windows = make_dicom(thorax, WindowCenter=[2000] * 1000, WindowWidth=[3000] * 1000)
    one = decode_film(make_dicom(thorax, WindowCenter=2000, WindowWidth=3000)).pixels
    np.testing.assert_array_equal(both_sides(windows), one)

    ramp = np.arange(0, 65536, 16, dtype="<u2").tobytes()
    few, many = (
        hostile_dicom.film_with(hostile_dicom.tables(count, ramp, (4096, 0, 16)))
        for count in (1, 100)
    )
    np.testing.assert_array_equal(both_sides(many), decode_film(few).pixels)


def iter_frames(dataset: Any) -> Any:
    from pydicom.encaps import generate_frames

    return generate_frames(dataset.PixelData, number_of_frames=1)


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"meta": hostile_dicom.element(0x00020001, "OB", bytes(100_000))},
        {"meta": hostile_dicom.element(0x00020026, "UR", b"")},
        {"group_length": 4},
        {"preamble": False},
    ],
    ids=["plain", "UID behind 100 kB", "an address", "false group length", "no preamble"],
)
def test_a_deflated_film_is_read_wherever_its_uid_stands(form: dict[str, Any]) -> None:
    film = hostile_dicom.deflated_object(1 << 20, **form)
    np.testing.assert_array_equal(both_sides(film), decode_film(hostile_dicom.film_with()).pixels)


def test_pydicom_never_inflates_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it finds a deflated object and we did not, the file is refused."""
    monkeypatch.setattr("cxrclient.films.dicom_file.DEFLATED", b"another")
    with pytest.raises(FilmError) as caught:
        decode_film(hostile_dicom.deflated_object(1 << 20))
    assert caught.value.code == "NOT_READABLE"


def test_a_png_of_two_headers_is_not_readable() -> None:
    """Its decoder believes the first, and the check of its size might the last."""
    film = hostile_images.png(64, 8, 0)
    header = film[8:33]
    with pytest.raises(FilmError) as caught:
        decode_film(film[:33] + header + film[33:])
    assert caught.value.code == "NOT_READABLE"


@pytest.mark.parametrize("syntax", [hostile_dicom.EXPLICIT, JPEG2000Lossless, RLELossless])
def test_pixels_that_are_a_sequence_are_not_readable(syntax: str) -> None:
    pixels = hostile_dicom.sequence(0x7FE00010, "undefined", 3)
    film = hostile_dicom.dicom_object(syntax, hostile_dicom.small_header(64, 64), pixels)
    with pytest.raises(FilmError) as caught:
        decode_film(film)
    assert caught.value.code == "NOT_READABLE"


def test_many_frames_with_items_by_the_thousand_are_several_frames(
    make_dicom: Callable[..., bytes],
) -> None:
    groups = hostile_dicom.sequence(hostile_dicom.PER_FRAME_GROUPS, "undefined", 50_000)
    frames = hostile_dicom.element(0x00280008, "IS", b"50000 ")
    with pytest.raises(cxrclient.errors.FilmError) as caught:
        read_film(hostile_dicom.film_with(frames, groups))
    assert caught.value.code == "MULTI_FRAME"
