"""Nothing of the patient leaves: the wire, the archive, the logs and what is said."""

from __future__ import annotations

import io
import logging
import struct
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrclient.archive.identity import patient_key
from cxrclient.archive.index import SimilarityIndex
from cxrclient.cli.app import app
from cxrclient.errors import FilmError
from cxrclient.films.film import read_film
from cxrclient.runs.archiving import archive_films
from cxrclient.serving.embedded import EmbeddedServer
from cxrclient.wire.client import CxrClient
from secrets_of_a_patient import (
    DICOM_KINDS,
    KEY,
    SECRETS,
    found_in,
)

ADMIN_KEY = "another one"


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
