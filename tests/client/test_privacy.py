"""Nothing of the patient leaves: the bytes on the wire, in the archive, in logs and in messages.

Films of every kind are filled with secrets wherever their formats have room. Then they go the whole
way, from the file through the real server into the real archive, and every byte is looked through.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import pickle
import struct
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.encaps import encapsulate, generate_frames
from typer.testing import CliRunner

from cxrclient.archive.checks import verify
from cxrclient.archive.clear_uids import without_uids
from cxrclient.archive.identity import hashed_uid, load_patient_key, patient_key
from cxrclient.archive.index import SimilarityIndex
from cxrclient.archive.metadata import FilmMetadata
from cxrclient.archive.own import own_films
from cxrclient.cli.app import app
from cxrclient.errors import ArchiveMismatch, FilmError, UsageError
from cxrclient.films.film import read_film
from cxrclient.runs.archiving import archive_films
from cxrclient.serving.embedded import EmbeddedServer
from cxrclient.wire.client import CxrClient
from cxrclient.wire.prediction import Prediction, failure_record

KEY = b"a secret of this test"
ADMIN_KEY = "another one"
NAME = "Zörnström^Jürgen"
SECRETS = {
    "name": NAME,
    "number": "ZORN-7351942086",
    "birth date": "19370214",
    "accession": "ACC5550199173",
    "physician": "Überweis^Doktor",
    "institution": "Klinikum Zornstadt",
    "text": "ZORNTEXT was free to write",
    "overlay": "ZORNOVERLAYBYTES",
    "unseen": "ZORNUNSEEN",
}
ENCODINGS = ("utf-8", "latin-1", "utf-16-le", "utf-16-be", "utf-32-le")


def forms(text: str) -> set[bytes]:
    """How a text may stand in bytes: its encodings in any case, and hexadecimal."""
    parts = {part for part in (text, *text.replace(" ", "^").split("^")) if len(part) >= 6}
    cases = {case for part in parts for case in (part, part.upper(), part.lower())}
    plain = {form.encode(encoding) for form in cases for encoding in ENCODINGS}
    return plain | {form.hex().encode() for form in plain}


NEEDLES = {form for text in SECRETS.values() for form in forms(text)}


def found_in(data: bytes) -> set[bytes]:
    """Which secrets are in there."""
    return {needle for needle in NEEDLES if needle in data}


# --- films full of secrets ------------------------------------------------------------------------


def put_secrets(film: pydicom.Dataset) -> None:
    """Wherever a header has room, at the top and in sequences."""
    film.SpecificCharacterSet = "ISO_IR 192"
    film.PatientName, film.PatientID = NAME, SECRETS["number"]
    film.IssuerOfPatientID = SECRETS["institution"]
    film.OtherPatientIDs, film.PatientBirthDate = SECRETS["number"], SECRETS["birth date"]
    film.AccessionNumber = SECRETS["accession"]
    film.ReferringPhysicianName = film.OperatorsName = SECRETS["physician"]
    film.InstitutionName = film.InstitutionAddress = SECRETS["institution"]
    film.ImageComments = film.StudyDescription = film.SeriesDescription = SECRETS["text"]
    film.PatientComments = film.AdditionalPatientHistory = SECRETS["text"]
    film.ProtocolName = film.RequestedProcedureDescription = SECRETS["text"]
    film.BodyPartExamined, film.StudyInstanceUID = "CHEST", "1.2.840.55.4711.1"
    film.private_block(0x0009, SECRETS["text"], create=True).add_new(1, "LO", NAME)
    film.private_block(0x6001, SECRETS["text"], create=True).add_new(1, "UN", NAME.encode())
    film.private_block(0x7FE1, SECRETS["text"], create=True).add_new(1, "OB", NAME.encode())
    film.add_new((0x6000, 0x0010), "US", 16)
    film.add_new((0x6000, 0x0011), "US", 8)
    film.add_new((0x6000, 0x0022), "LO", SECRETS["text"])
    film.add_new((0x6000, 0x3000), "OW", SECRETS["overlay"].encode())
    film.add_new((0x5000, 0x2500), "LO", SECRETS["text"])
    icon = pydicom.Dataset()
    icon.Rows = icon.Columns = 4
    icon.SamplesPerPixel, icon.PhotometricInterpretation = 1, "MONOCHROME2"
    icon.BitsAllocated = icon.BitsStored = 8
    icon.HighBit, icon.PixelRepresentation = 7, 0
    icon.PixelData = SECRETS["overlay"].encode()
    film.IconImageSequence = [icon]
    group, content, window = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    content.FrameComments = SECRETS["text"]
    window.WindowCenter, window.WindowWidth = 2000, 3000
    window.WindowCenterWidthExplanation = SECRETS["text"]
    group.FrameContentSequence, group.FrameVOILUTSequence = [content], [window]
    film.PerFrameFunctionalGroupsSequence = film.SharedFunctionalGroupsSequence = [group]
    film.file_meta.SourceApplicationEntityTitle = "ZORNUNSEEN"
    film.file_meta.PrivateInformationCreatorUID = "1.2.3"
    film.file_meta.PrivateInformation = NAME.encode().ljust(32)
    film.preamble = NAME.encode().ljust(128, b"\0")
    film.add_new(0xFFFCFFFC, "OB", SECRETS["unseen"].encode())


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def jpeg_with_secrets(stream: bytes) -> bytes:
    """Comments, application segments, and bytes behind the end."""
    text = "\0".join(SECRETS.values()).encode()
    extra = segment(0xFE, text) + segment(0xE1, b"Exif\0\0" + text) + segment(0xED, text)
    return stream[:2] + extra + stream[2:] + SECRETS["unseen"].encode()


def j2k_with_secrets(stream: bytes) -> bytes:
    """A comment in the main header, and bytes behind the end."""
    end_of_size = 4 + int.from_bytes(stream[4:6], "big")
    comment = segment(0x64, b"\0\1" + "\0".join(SECRETS.values()).encode("latin-1"))
    return stream[:end_of_size] + comment + stream[end_of_size:] + SECRETS["unseen"].encode()


def encapsulated(film: pydicom.Dataset, stream: bytes, syntax: str) -> None:
    """The stream in two fragments, an offset table that says more than it should."""
    stream += b"\0" * (len(stream) % 2)
    value = encapsulate([stream], fragments_per_frame=2, has_bot=False)
    table = SECRETS["unseen"].encode() + b"  "
    film.PixelData = struct.pack("<HHI", 0xFFFE, 0xE000, len(table)) + table + value[8:]
    film["PixelData"].VR, film["PixelData"].is_undefined_length = "OB", True
    film.file_meta.TransferSyntaxUID = syntax


def dicom_with_secrets(kind: str, plain: Path, grey: np.ndarray) -> bytes:
    film, syntax = pydicom.dcmread(plain), None
    if kind == "baseline":
        film.BitsAllocated = film.BitsStored = 8
        film.HighBit = 7
        stream = jpeg_with_secrets(cv2.imencode(".jpg", grey)[1].tobytes())
        syntax = "1.2.840.10008.1.2.4.50"
    elif kind in ("JPEG-LS", "JPEG 2000"):
        syntax = "1.2.840.10008.1.2.4." + ("80" if kind == "JPEG-LS" else "90")
        film.compress(syntax, generate_instance_uid=False)
        stream = next(generate_frames(film.PixelData, number_of_frames=1)).rstrip(b"\0")
        stream = (jpeg_with_secrets if kind == "JPEG-LS" else j2k_with_secrets)(stream)
    elif kind == "RLE":
        syntax = "1.2.840.10008.1.2.5"
        film.compress(syntax, generate_instance_uid=False, encoding_plugin="pylibjpeg")
        stream = next(generate_frames(film.PixelData, number_of_frames=1))
        stream += SECRETS["unseen"].encode()
    put_secrets(film)
    if syntax:
        encapsulated(film, stream, syntax)
        if kind == "RLE":  # a frame of RLE is one fragment
            film.PixelData = encapsulate([stream])
            film["PixelData"].is_undefined_length = True
    else:
        film.PixelData += SECRETS["unseen"].encode()
    if kind == "one of several frames":
        film.SOPClassUID, film.NumberOfFrames = "1.2.840.10008.5.1.4.1.1.7.3", 1
    if kind == "deflated":
        film.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    buffer = io.BytesIO()
    form = {"implicit_vr": kind == "implicit", "little_endian": True}
    if kind == "implicit":
        film.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    film.save_as(buffer, enforce_file_format=True, **({} if syntax else form))
    return buffer.getvalue()


def png_with_secrets(grey: np.ndarray) -> bytes:
    info, exif, text = PngInfo(), Image.Exif(), "\n".join(SECRETS.values())
    info.add_text("Patient", text.encode("latin-1"))
    info.add_text("Comment", text, zip=True)
    info.add_itxt("Description", text, zip=False)
    info.add(b"zoRn", text.encode())
    exif[0x010E], exif[0x9C9C] = text, text.encode("utf-16-le")
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "PNG", pnginfo=info, exif=exif, icc_profile=text.encode())
    return buffer.getvalue() + SECRETS["unseen"].encode()


DICOM_KINDS = ("explicit", "implicit", "deflated", "one of several frames", "RLE", "baseline",
               "JPEG-LS", "JPEG 2000")  # fmt: skip
ALL_KINDS = (*DICOM_KINDS, "png", "jpeg")


@pytest.fixture(scope="module")
def films(
    tmp_path_factory: pytest.TempPathFactory,
    drawn_film: Callable[..., np.ndarray],
    write_dicom: Callable[..., Path],
) -> dict[str, Path]:
    """A film of each kind, under names that say nothing."""
    folder, plain = tmp_path_factory.mktemp("films"), tmp_path_factory.mktemp("plain")
    made = {}
    for number, kind in enumerate(ALL_KINDS):
        pixels = drawn_film(number)
        grey = (pixels >> 4).astype(np.uint8)
        if kind == "png":
            encoded = png_with_secrets(grey)
        elif kind == "jpeg":
            encoded = jpeg_with_secrets(cv2.imencode(".jpg", grey)[1].tobytes())
        else:
            without = write_dicom(plain / f"{number}.dcm", pixels)
            encoded = dicom_with_secrets(kind, without, grey)
        made[kind] = folder / f"{number}.film"
        made[kind].write_bytes(encoded)
    return made


def test_the_search_finds_a_secret_in_each_of_its_forms() -> None:
    """Without this, the rest could prove nothing."""
    for text in SECRETS.values():
        assert found_in(b"..." + text.encode() + b"...")
    assert found_in("zörnström".encode("latin-1"))
    assert found_in("JÜRGEN".encode("utf-16-be"))
    assert found_in(NAME.encode().hex().encode())
    assert not found_in(bytes(range(256)) * 40)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_films_payload_holds_none_of_its_secrets(kind: str, films: dict[str, Path]) -> None:
    encoded = films[kind].read_bytes()
    if kind == "deflated":
        start = 144 + int.from_bytes(encoded[140:144], "little")
        encoded = zlib.decompress(encoded[start:], wbits=-zlib.MAX_WBITS)
    assert len(found_in(encoded)) >= 8
    assert found_in(read_film(films[kind]).payload) == set()


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, here in the test itself
def test_no_value_of_a_patient_in_pydicoms_own_files_is_in_a_payload() -> None:
    """Names of real writers, in many alphabets, as their bytes are in the file."""
    import pydicom.data

    folder, looked_at = Path(pydicom.data.__file__).parent, 0
    for path in sorted([*folder.glob("test_files/*.dcm"), *folder.glob("charset_files/*.dcm")]):
        if path.stat().st_size > 300_000:
            continue
        try:
            payload = read_film(path).payload
        except FilmError:
            continue
        header = pydicom.dcmread(path, stop_before_pixels=True)
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "InstitutionName",
                        "ReferringPhysicianName", "StudyDescription", "StudyInstanceUID",
                        "SOPInstanceUID", "Manufacturer", "StudyDate"):  # fmt: skip
            element = header.get_item(keyword)
            raw = bytes(getattr(element, "value", None) or b"").strip(b"\0 ")
            if len(raw) >= 6:  # shorter ones may stand in pixels by chance
                looked_at += 1
                assert raw not in payload, f"{path.name}: {keyword}"
    assert looked_at > 200


# --- the whole way --------------------------------------------------------------------------------


@dataclass
class Journey:
    """What was to be seen while all films were indexed and asked for."""

    wire: bytes
    messages: list[bytes]
    archive: bytes
    server_log: str
    logs: str
    said: str
    rows: dict[str, Any]


@pytest.fixture(scope="module")
def talkative_server(
    model_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[EmbeddedServer, Path]]:
    """A server that logs all it can, which takes its operator's key, and its log."""
    log = tmp_path_factory.mktemp("talkative") / "triton.log"
    with EmbeddedServer(
        model_repository, device="cpu", log_file=log, admin_key=ADMIN_KEY
    ) as server:
        # Source: Triton's logging extension.
        request = urllib.request.Request(
            f"http://{server.http_address}/v2/logging",
            data=b'{"log_verbose_level": 2}',
            headers={"cxr-admin-key": ADMIN_KEY},
            method="POST",
        )
        urllib.request.urlopen(request, timeout=600).read()
        yield server, log


@pytest.fixture(scope="module")
def journey(
    films: dict[str, Path],
    talkative_server: tuple[EmbeddedServer, Path],
    make_wire: Callable[[str], Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Journey:
    """All films through real server and real archive, everything logged that can be."""
    archive = tmp_path_factory.mktemp("archive") / "cxr.db"
    recorded = io.StringIO()
    handler, root = logging.StreamHandler(recorded), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    server, server_log = talkative_server
    wire = make_wire(server.grpc_address)
    said, rows = [], {}
    try:
        with CxrClient(wire.address, jobs=2, gate=False) as cxr:
            with SimilarityIndex(archive, model_digest=cxr.model.digest) as index:
                paths = [str(path) for path in films.values()]
                outcomes = list(archive_films(cxr, index, paths, metadata={}, key=KEY))
                said += [str(outcome) + repr(outcome) for outcome in outcomes]
                assert len(index) == len(films), outcomes
                prediction = cxr.predict(paths[0])
                said += [repr(prediction), str(prediction.record())]
                said += [repr(read_film(path)) for path in paths]
                for near in index.search(prediction.embedding, k=50, one_per_patient=False):
                    rows[near.id] = near
                    said.append(repr(near))
            for kind in DICOM_KINDS:  # damaged in the middle of the header, and cut off
                whole = films[kind].read_bytes()
                for damaged in (whole[:700], whole[:1300] + whole[1350:]):
                    try:
                        cxr.predict(damaged)
                    except FilmError as error:
                        said.append(f"{error} {error!r} {error.__cause__} {error.__context__}")
        stored = b"".join(path.read_bytes() for path in sorted(archive.parent.iterdir()))
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        wire.end()
    return Journey(
        bytes(wire.sent), grpc_messages(bytes(wire.sent)), stored,
        server_log.read_text(errors="replace"), recorded.getvalue(), "\n".join(said), rows,
    )  # fmt: skip


def grpc_messages(sent: bytes) -> list[bytes]:
    """What one connection carried. Source: RFC 9113, section 4; gRPC over HTTP/2.

    Frames are taken apart, so that no secret hides across the border between two of them; that
    nothing is compressed is checked on the way.
    """
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    assert sent.startswith(preface)
    assert sent.count(preface) == 1
    streams: dict[int, bytearray] = {}
    at = len(preface)
    while at + 9 <= len(sent):
        length, kind, flags = int.from_bytes(sent[at : at + 3], "big"), sent[at + 3], sent[at + 4]
        stream = int.from_bytes(sent[at + 5 : at + 9], "big") & 0x7FFFFFFF
        if kind == 0:  # DATA
            assert flags & 0x8 == 0  # not padded
            streams.setdefault(stream, bytearray()).extend(sent[at + 9 : at + 9 + length])
        at += 9 + length
    messages = []
    for data in streams.values():
        position = 0
        while position < len(data):
            compressed, size = struct.unpack_from(">BI", data, position)
            assert compressed == 0
            messages.append(bytes(data[position + 5 : position + 5 + size]))
            position += 5 + size
    return messages


def test_the_wire_carries_each_films_payload_and_no_secret(
    journey: Journey, films: dict[str, Path]
) -> None:
    for path in films.values():
        payload = read_film(path).payload
        assert any(payload in message for message in journey.messages)
    assert found_in(b"\0".join(journey.messages)) == set()
    assert found_in(journey.wire) == set()


def test_no_uid_goes_over_the_wire(journey: Journey, films: dict[str, Path]) -> None:
    for kind in DICOM_KINDS:
        film = read_film(films[kind])
        for uid in (film.film_id, film.study_uid):
            assert uid.encode() not in b"\0".join(journey.messages)


def test_the_archive_holds_no_secret_but_the_patients_keyed_hash(
    journey: Journey, films: dict[str, Path]
) -> None:
    assert found_in(journey.archive) == set()
    expected = patient_key(SECRETS["number"], KEY, SECRETS["institution"])
    assert {journey.rows[read_film(films[kind]).film_id].patient_key for kind in DICOM_KINDS} == {
        expected
    }
    assert expected.encode() in journey.archive
    assert journey.rows[read_film(films["png"]).film_id].patient_key is None


def test_the_archive_can_be_opened_where_the_film_lies(
    journey: Journey, films: dict[str, Path]
) -> None:
    assert read_film(films["explicit"]).film_id.encode() in journey.archive


def test_logs_at_their_most_talkative_hold_no_secret(journey: Journey) -> None:
    assert journey.logs  # something was logged
    assert "cxr" in journey.server_log
    assert found_in(journey.logs.encode()) == set()
    assert found_in(journey.server_log.encode()) == set()


def test_what_is_said_of_a_film_holds_no_secret(journey: Journey) -> None:
    assert "NOT_READABLE" in journey.said
    assert found_in(journey.said.encode()) == set()


def test_commands_say_no_secret(
    films: dict[str, Path], triton_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they write besides is the paths of files, and those the user named."""
    monkeypatch.setenv("CXR_SERVER", triton_server.grpc_address)
    damaged = tmp_path / "damaged.film"
    damaged.write_bytes(films["explicit"].read_bytes()[:2000])
    result = CliRunner().invoke(
        app, ["predict", str(films["implicit"]), str(damaged), "--format", "jsonl"]
    )
    assert "NOT_READABLE" in result.output
    assert found_in(result.output.encode()) == set()


# --- what a prediction knows of its film ----------------------------------------------------------


def shown_of(prediction: Prediction) -> list[bytes]:
    """All that a prediction becomes when nobody asks for its film."""
    copies = copy.copy(prediction), copy.deepcopy(prediction), replace(prediction, label="other")
    assert [each.film for each in copies] == [None] * 3
    shown = [f"{prediction} {prediction!r}", prediction._repr_html_(), str(asdict(prediction))]
    shown += [json.dumps(prediction.record()), str([fields(prediction), dir(prediction)])]
    pickled = pickle.dumps(prediction)
    assert pickle.loads(pickled).film is None
    return [*(text.encode() for text in shown), pickled]


def shown_of_error(error: FilmError) -> list[bytes]:
    """The same of an error, as a log and a report of it have it."""
    recorded = io.StringIO()
    log = logging.getLogger("a test's")
    handler = logging.StreamHandler(recorded)
    log.addHandler(handler)
    log.error("%s %r", error, error, exc_info=error)
    log.removeHandler(handler)
    shown = [recorded.getvalue(), str(vars(error)), str(error.args), str(failure_record(error))]
    return [*(text.encode() for text in shown), pickle.dumps(error)]


@pytest.mark.parametrize("kind", DICOM_KINDS)
@pytest.mark.parametrize("as_bytes", [False, True], ids=["path", "bytes"])
def test_a_prediction_knows_its_films_header_and_tells_nobody_unasked(
    kind: str, as_bytes: bool, films: dict[str, Path], triton_server: Any
) -> None:
    with CxrClient(triton_server.grpc_address, gate=False) as cxr:
        prediction = cxr.predict(films[kind].read_bytes() if as_bytes else films[kind])
        with pytest.raises(FilmError) as raised:
            cxr.predict(replace(read_film(films[kind]), payload=b"no film"))
    for film in (prediction.film, raised.value.film):
        assert film is not None
        assert film.patient_id == SECRETS["number"]
        assert film.patient_issuer == SECRETS["institution"]
        assert film.study_uid == "1.2.840.55.4711.1"
        assert film.payload == b""
        assert found_in(repr(film).encode()) == set()
    shown = shown_of(prediction) + shown_of_error(raised.value)
    assert found_in(b"\0".join(shown)) == set()
    assert not any(b"4711" in each for each in shown)  # nor the study


# --- one archive, one key -------------------------------------------------------------------------


def test_an_archive_takes_one_patient_key_alone_and_what_is_made_of_it_is_its_owners(
    drawn_film: Any, write_dicom: Any, triton_server: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Under another key the patient's other film would be a stranger's, and the nearest."""
    one, other = (
        str(write_dicom(tmp_path / f"{n}.dcm", drawn_film(seed=n), PatientID="4711"))
        for n in range(2)
    )
    monkeypatch.setenv("CXR_SERVER", triton_server.grpc_address)
    uri, copy = str(tmp_path / "cxr.db"), str(tmp_path / "copy.db")

    def run(*words: str) -> Any:
        return CliRunner().invoke(app, [*words, "--uri", uri])

    monkeypatch.setenv("CXR_PATIENT_KEY", KEY.decode())
    assert run("index", one, "--no-gate").exit_code == 0
    found = run("similar", other, "--no-gate", "--format", "jsonl")
    assert json.loads(found.stdout)["neighbours"] == []
    assert run("archive", "export", str(tmp_path / "cxr.parquet")).exit_code == 0
    page = tmp_path / "page.html"
    assert run("report", other, "--no-gate", "--html", str(page)).exit_code == 0
    # What was made is the owner's alone; what was there keeps its mode.
    made = (Path(uri), tmp_path / "cxr.parquet", page)
    assert {path.name: path.stat().st_mode & 0o777 for path in made} == dict.fromkeys(
        ("cxr.db", "cxr.parquet", "page.html"), 0o600
    )
    page.chmod(0o640)
    assert run("report", other, "--no-gate", "--html", str(page)).exit_code == 0
    assert page.stat().st_mode & 0o777 == 0o640

    monkeypatch.setenv("CXR_PATIENT_KEY", "another key of this test")
    refused = run("index", other, "--no-gate")
    assert (refused.exit_code, "KEY_MISMATCH" in refused.stderr) == (2, True), refused.output
    doubted = run("similar", other, "--no-gate", "--format", "jsonl")
    assert "Other films of this patient are not recognised" in doubted.stderr
    uri = copy  # which has the key of where its films come from
    assert run("archive", "import", str(tmp_path / "cxr.parquet")).exit_code == 0
    assert "KEY_MISMATCH" in run("index", other, "--no-gate").stderr


def test_an_archive_from_before_there_was_a_key_to_compare_works_as_it_did(
    triton_server: Any, tmp_path: Path
) -> None:
    with (
        CxrClient(triton_server.grpc_address, gate=False) as cxr,
        SimilarityIndex(tmp_path / "old.db", model_digest=cxr.model.digest) as index,
    ):
        index.add(["1.2.3"], np.ones((1, 128), np.float32), [{}])
        for key in (KEY, b"another key of this test"):
            assert list(archive_films(cxr, index, [], metadata={}, key=key)) == []
        assert index.key_check() is None


# --- hashed UIDs ----------------------------------------------------------------------------------


def test_hashed_uids_hide_every_uid_and_the_film_is_still_the_same(
    films: dict[str, Path], triton_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_PATIENT_KEY", KEY.decode())
    archive, path = tmp_path / "hashed.db", str(tmp_path / "film.dcm")
    (uuid_uid, series_uid) = (f"2.25.{3**78}", "1.2.840.77.123")
    header = pydicom.dcmread(films["one of several frames"])
    header.StudyInstanceUID = uuid_uid
    header.save_as(path)
    film = read_film(path)
    site = {"prior": series_uid, "of": f"priors/{uuid_uid}.dcm", "treatment": "oxygen 2.5 l"}
    known = FilmMetadata(1, path, columns=site)
    how = {"metadata": {path: known}, "key": KEY}
    with (
        CxrClient(triton_server.grpc_address, gate=False) as cxr,
        SimilarityIndex(archive, model_digest=cxr.model.digest) as index,
    ):
        added = [
            next(o for o in archive_films(cxr, index, [path], hash_uids=True, **how) if o)
            for _ in range(2)
        ]
        assert [(o.added, o.already_there) for o in added] == [(1, 0), (0, 1)]
        hashed = hashed_uid(film.film_id, KEY)
        (kept,) = index.films([hashed])
        assert kept.metadata["study_uid"] == hashed_uid(uuid_uid, KEY)
        assert kept.metadata["prior"] == hashed_uid(series_uid, KEY)
        assert kept.metadata["treatment"] == "oxygen 2.5 l"
        assert own_films(index, cxr.predict(path)).ids == (hashed,)
        assert verify(index) == []
        with pytest.raises(ArchiveMismatch, match="with --hash-uids"):
            list(archive_films(cxr, index, [path], **how))
    stored = b"".join(p.read_bytes() for p in sorted(tmp_path.iterdir()) if str(p) != path)
    for uid in (film.film_id, uuid_uid, series_uid):
        assert uid.encode() not in stored


@pytest.mark.parametrize(
    ("column", "value", "is_uid"),
    [
        ("study_uid", "1.2", True),  # by its name, whatever is in it
        ("SeriesInstanceUID", "none of the standard", True),
        ("seriesuid", "7", True),
        ("prior", "2.25.302346271936", True),
        ("prior", " 1.2.840.1 ", True),
        ("prior", "1.2.840.010.7", True),  # a zero before the number, as some devices write it
        ("priors", "see 1.2.840.5 and 1.2.840.6", True),
        ("path", "pacs/film_1.2.840.5.dcm", True),
        ("pleural_fluid", "little", False),
        ("dose", "2.5", False),
        ("dose", "0.12345678", False),
        ("taken", "1.12.2020", False),
        ("taken", "2.25.20", False),
        ("firmware", "1.12.0", False),
        ("study_uid", None, False),
        ("days", 3.0, False),
    ],
)
def test_a_uid_is_told_by_its_columns_name_or_its_form(
    column: str, value: object, is_uid: bool
) -> None:
    hidden = without_uids({column: value}, KEY)[column]
    assert (hidden != value) is is_uid
    if isinstance(value, str) and is_uid:
        assert not set(value.split()) & set(str(hidden).split()) - {"see", "and"}
        assert without_uids({column: hidden}, KEY) == {column: hidden}


def test_verify_finds_a_clear_uid_in_an_archive_of_hashed_ones(tmp_path: Path) -> None:
    with SimilarityIndex(tmp_path / "hashed.db", model_digest="a" * 64) as index:
        rows = [{"study_uid": f"2.25.{3**78}"}, {"study_uid": hashed_uid("1.2", KEY)}]
        ids = [hashed_uid("1.2.3", KEY), hashed_uid("1.2.4", KEY)]
        index.add(ids, np.random.default_rng(0).normal(size=(2, 128)), rows)
        assert [(p.code, p.ids) for p in verify(index)] == [("CLEAR_UID", (ids[0],))]


def test_uids_are_not_hashed_into_an_archive_of_clear_ones(
    films: dict[str, Path], triton_server: Any, tmp_path: Path
) -> None:
    with (
        CxrClient(triton_server.grpc_address, gate=False) as cxr,
        SimilarityIndex(tmp_path / "clear.db", model_digest=cxr.model.digest) as index,
    ):
        index.add(["1.2.3"], np.ones((1, 128), np.float32), [{}])
        with pytest.raises(ArchiveMismatch, match="without --hash-uids"):
            list(archive_films(cxr, index, [], metadata={}, key=KEY, hash_uids=True))


def test_the_key_of_hashed_uids_is_not_made_up(tmp_path: Path) -> None:
    """A new key would find nothing, and say that there is nothing."""
    path = tmp_path / "patient.key"
    with pytest.raises(UsageError, match="There is no patient key"):
        load_patient_key({"CXR_PATIENT_KEY_FILE": str(path)}, make=False)
    assert not path.exists()
