"""Films by STOW-RS: each has a fate of its own, and a request that breaks leaves nothing."""

from __future__ import annotations

import errno
import io
import logging
import socket
import threading

import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient

from cxrclient.node.web import stow
from waiting import eventually

TAKEN, REFUSED, OTHERS = "00081199", "00081198", "0008119A"


def uids(answer, sequence: str = TAKEN) -> list[str]:
    items = answer.json().get(sequence, {}).get("Value", [])
    return [item["00081155"]["Value"][0] for item in items]


def reasons(answer, sequence: str = REFUSED) -> list[int]:
    return [item["00081197"]["Value"][0] for item in answer.json()[sequence]["Value"]]


def notes(web) -> list[str]:
    return [row["code"] for row in web.spool.rows.all("SELECT code FROM notes ORDER BY id")]


def test_films_of_one_request_are_stored_whole_and_named_with_their_class(web, film):
    films = [film(SOPInstanceUID=f"1.2.{number}") for number in range(3)]

    answer = web.store(*films)

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/dicom+json"
    assert uids(answer) == ["1.2.0", "1.2.1", "1.2.2"]
    sop_class = pydicom.dcmread(io.BytesIO(films[0])).SOPClassUID
    assert answer.json()[TAKEN]["Value"][0]["00081150"] == {"vr": "UI", "Value": [sop_class]}
    for number, file in enumerate(films):
        assert web.spool.film_path(f"1.2.{number}").read_bytes() == file


def test_a_film_that_is_here_already_is_taken_again_and_kept_once(web, film):
    first, again = web.store(film()), web.store(film(), film("rle"))

    assert (first.status_code, again.status_code) == (200, 200)
    assert REFUSED not in again.json()
    assert uids(again) == 2 * uids(first)
    assert len(web.kept()) == 1


def test_other_pixels_under_a_known_uid_are_acknowledged_and_noted(web, film):
    web.store(film())
    pixels = bytes(len(pydicom.dcmread(io.BytesIO(film())).PixelData))

    assert web.store(film(PixelData=pixels)).status_code == 200
    assert notes(web) == ["OTHER_PIXELS"]


def test_each_film_of_a_request_has_a_fate_of_its_own(web, film):
    document = film(SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1", SOPInstanceUID="1.2.4")

    answer = web.store(film(SOPInstanceUID="1.2.3"), b"no DICOM at all", document)

    assert answer.status_code == 202
    assert uids(answer) == ["1.2.3"]
    assert (uids(answer, REFUSED), reasons(answer)) == (["1.2.4"], [0x0122])
    assert reasons(answer, OTHERS) == [0xC000], "nobody knows what it was"
    assert len(web.kept()) == 1


def test_a_request_of_which_nothing_is_taken_is_a_conflict(web, film):
    answer = web.store(film()[:-1000])

    assert answer.status_code == 409
    assert TAKEN not in answer.json()
    assert web.kept() == []


def test_a_film_of_another_study_than_the_urls_is_refused(web, film):
    own = film(StudyInstanceUID="1.2.3", SOPInstanceUID="1.2.3.1")
    other = film(StudyInstanceUID="1.2.4", SOPInstanceUID="1.2.4.1")

    answer = web.store(own, other, study="1.2.3")

    assert answer.status_code == 202
    assert (uids(answer), uids(answer, REFUSED)) == (["1.2.3.1"], ["1.2.4.1"])
    assert notes(web) == ["OTHER_STUDY"]


@pytest.mark.parametrize("lost", [4, 10, 5000, 50_000])
def test_a_multipart_that_ends_early_is_refused_with_all_its_films(web, film, lost):
    body = web.body(film(SOPInstanceUID="1.2.1"), film(SOPInstanceUID="1.2.2"))

    answer = web.post(body[:-lost])

    assert (answer.status_code, answer.json()["code"]) == (400, "TRANSFER_ABORTED")
    assert web.kept() == []
    assert notes(web) == ["TRANSFER_ABORTED"]


def test_a_sender_that_is_lost_in_the_middle_leaves_nothing(web, film):
    body = web.body(film(SOPInstanceUID="1.2.1"), film(SOPInstanceUID="1.2.2"))
    with socket.create_connection(("127.0.0.1", web.listener.port)) as line:
        line.sendall(web.head(len(body)) + body[:-100])

    eventually(lambda: notes(web) == ["TRANSFER_ABORTED"])
    assert web.kept() == []


def test_a_sender_that_falls_silent_is_let_go(web, film, monkeypatch):
    monkeypatch.setattr(stow, "SILENT_S", 0.3)
    with socket.create_connection(("127.0.0.1", web.listener.port)) as line:
        line.sendall(web.head(10_000) + b"--a boundary\r\n")
        answer = line.makefile("rb").readline()
    monkeypatch.undo()

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert web.store(film()).status_code == 200


@pytest.mark.parametrize(
    ("sort", "status"),
    [
        ("application/dicom", 415),
        ("multipart/form-data; boundary=b", 415),
        ('multipart/related; type="application/dicom+json"; boundary=b', 415),
        ('multipart/related; type="application/dicom"', 400),
        ('multipart/related; type="application/dicom"; boundary=b', 400),
    ],
)
def test_what_is_no_multipart_of_films_is_refused(web, film, sort, status):
    answer = web.post(film(), sort)

    assert answer.status_code == status
    assert {"code", "message", "do"} < set(answer.json())
    assert web.kept() == []


def test_what_is_larger_than_any_film_is_refused_before_it_is_all_here(web, film, monkeypatch):
    monkeypatch.setattr(stow, "MAX_FILE_BYTES", 1000)

    answer = web.store(film())

    assert (answer.status_code, answer.json()["code"]) == (413, "REQUEST_TOO_LARGE")
    assert web.kept() == []


def test_too_many_films_are_refused_together(web, film, monkeypatch):
    monkeypatch.setattr(stow, "MAX_FILMS", 2)

    answer = web.store(film(), film(SOPInstanceUID="1.2.2"), film(SOPInstanceUID="1.2.3"))

    assert (answer.status_code, web.kept()) == (413, [])


@pytest.mark.parametrize(
    ("options", "code"), [({"min_free_bytes": 1 << 60}, "LOW_DISK"), ({"queue": 0}, "QUEUE_FULL")]
)
def test_without_room_the_sender_is_told_when_to_come_again(start, film, options, code):
    web = start(**options)

    answer = web.store(film())

    assert (answer.status_code, answer.json()["code"]) == (503, code)
    assert int(answer.headers["Retry-After"]) > 0
    assert notes(web) == [code]


@pytest.mark.parametrize(
    ("owner", "limit", "value"),
    [(lambda spool: spool._room, "_min_free", 1 << 60), (lambda spool: spool, "_queue", 0)],
)
def test_without_room_a_film_that_is_here_already_is_taken_all_the_same(
    web, film, monkeypatch, owner, limit, value
):
    web.store(film())
    monkeypatch.setattr(owner(web.spool), limit, value)

    again = web.store(film())
    both = web.store(film(), film(SOPInstanceUID="1.2.9"))

    assert (again.status_code, len(uids(again))) == (200, 1)
    assert (both.status_code, uids(both, REFUSED), reasons(both)) == (202, ["1.2.9"], [0xA700])
    assert len(web.kept()) == 1


def test_without_room_on_the_disk_memory_takes_only_little(start, film, monkeypatch):
    web = start(min_free_bytes=1 << 60)
    body = web.body(film())
    monkeypatch.setattr(stow, "_MOST_SMALL", 1)
    with socket.create_connection(("127.0.0.1", web.listener.port)) as line:
        line.sendall(web.head(len(body)) + body[:5000])
        eventually(lambda: web.listener._store.reading)
        second = web.store(film())
    eventually(lambda: not web.listener._store.reading)
    monkeypatch.setattr(stow, "_SMALL_BYTES", 1000)
    told, untold = web.post(body), web.post(iter([body]))

    for answer in (second, told, untold):
        assert (answer.status_code, answer.json()["code"]) == (503, "LOW_DISK")


def test_a_lack_of_descriptors_is_not_called_a_full_disk(web, film, monkeypatch):
    def lacks(**_more):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(stow.tempfile, "TemporaryFile", lacks)

    answer = web.store(film())

    assert (answer.status_code, answer.json()["code"]) == (503, "NO_DESCRIPTORS")
    assert notes(web) == ["NO_DESCRIPTORS"]


def test_films_for_which_the_room_ends_in_the_middle_of_a_request_are_refused(start, film):
    answer = start(queue=1).store(film(SOPInstanceUID="1.2.1"), film(SOPInstanceUID="1.2.2"))

    assert answer.status_code == 202
    assert (uids(answer), uids(answer, REFUSED)) == (["1.2.1"], ["1.2.2"])
    assert reasons(answer) == [0xA700]


def test_a_disk_that_fills_while_a_request_is_read_is_no_fault_of_the_film(web, film, monkeypatch):
    class Full(io.BytesIO):
        def write(self, _piece):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stow.tempfile, "TemporaryFile", lambda dir: Full())

    answer = web.store(film())

    assert (answer.status_code, answer.json()["code"]) == (503, "SPOOL_FAILED")
    assert web.kept() == []


def test_nothing_of_a_patient_is_logged_at_any_level(web, film, caplog):
    caplog.set_level(logging.DEBUG)
    named = {"PatientName": "Secret^Jane", "PatientID": "SECRET-7"}
    films = film(**named), film(**named)[:-1000], film(**named, StudyInstanceUID="1.Secret")
    caplog.clear()  # pydicom, as it wrote them
    web.store(*films)
    web.post(web.body(films[0])[:-2000])
    with socket.create_connection(("127.0.0.1", web.listener.port)) as line:
        line.sendall(b"Secret^Jane SECRET-7\r\n\r\n")
        line.makefile("rb").read()
    web.get("/results?from=Secret^Jane")
    web.get("/Secret^Jane")

    told = [row["message"] for row in web.spool.rows.all("SELECT message FROM notes")]
    assert told
    ours = [record for record in caplog.records if not record.name.startswith("urllib3")]
    assert "secret" not in " ".join([*told, *(each.getMessage() for each in ours)]).lower()
    assert not any(each.exc_info for each in ours)


def test_a_node_that_ends_takes_no_film_and_still_tells(web, film):
    web.listener.stop_taking()
    web.listener.stop_taking()

    assert web.store(film()).status_code == 503
    assert web.get("/health/live").status_code == 200
    assert web.get("/health/ready").status_code == 503


def test_a_client_of_others_stores_films(web, film):
    dataset = pydicom.dcmread(io.BytesIO(film()))

    told = DICOMwebClient(f"{web.url}/dicom-web").store_instances([dataset])

    assert told.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == dataset.SOPInstanceUID
    assert web.spool.film_path(dataset.SOPInstanceUID).exists()


def test_a_body_in_chunks_without_a_length_is_read(web, film):
    body = web.body(film(), film(SOPInstanceUID="1.2.2"))

    answer = web.post(body[start : start + 777] for start in range(0, len(body), 777))

    assert answer.status_code == 200
    assert len(web.kept()) == 2


def test_a_node_that_ends_finishes_the_request_in_hand(web, film):
    body = web.body(film())
    with socket.create_connection(("127.0.0.1", web.listener.port)) as line:
        line.sendall(web.head(len(body)) + body[:5000])
        in_hand = eventually(lambda: web.listener._store.reading)
        end = threading.Thread(target=web.listener.stop, args=(60,))
        end.start()
        eventually(lambda: not _listens(web.listener.port))
        line.sendall(body[5000:])
        answer = line.makefile("rb").readline()
    end.join()

    assert in_hand == 1
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert len(web.kept()) == 1


def test_a_node_that_ends_waits_for_a_silent_sender_no_longer_than_it_may(web, monkeypatch):
    monkeypatch.setattr(stow, "SILENT_S", 1e6)  # by which alone it would never end
    with socket.create_connection(("127.0.0.1", web.listener.port)) as line:
        line.sendall(web.head(10_000) + b"--a boundary\r\n")
        eventually(lambda: web.listener._store.reading)
        thread = web.listener._thread

        web.listener.stop(0.5)

        eventually(lambda: not thread.is_alive())
    assert not _listens(web.listener.port)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
