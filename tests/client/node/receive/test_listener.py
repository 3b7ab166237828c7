"""C-STORE and C-ECHO: each sender gets the answer that is true, and each film is kept whole."""

from __future__ import annotations

import contextlib
import io
import shutil
import socket
import subprocess
import sys
import threading

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE

from cxrclient.errors import NodeError, UsageError
from cxrclient.films import SYNTAXES
from cxrclient.node.receive.intake import FILM_CLASSES
from cxrclient.pixels import decode_stored
from dicom_senders import CR, EXPLICIT, header_of, kept, noted
from waiting import eventually

VERIFICATION, COMMITMENT = "1.2.840.10008.1.1", "1.2.840.10008.1.20.1"
NO_FILMS = [f"1.2.840.10008.5.1.4.1.1.{end}" for end in
            ("2", "88.11", "88.33", "88.34", "104.1", "66.4", "7.4", "6.1", "4")]  # fmt: skip


def _values(file):
    return decode_stored(file).stored


def test_a_film_of_each_transfer_syntax_is_taken_as_it_stands(
    spool, film, recompress, lossless_syntax, listen, sender, on_disk
):
    file = recompress(film(), lossless_syntax)
    (status,) = sender(listen()).store(on_disk(file))
    assert status.Status == 0x0000
    (path,) = kept(spool)
    assert path.read_bytes()[-1000:] == file[-1000:]
    assert header_of(path.read_bytes()).file_meta.TransferSyntaxUID == lossless_syntax
    np.testing.assert_array_equal(_values(path.read_bytes()), _values(film()))


def test_every_class_and_syntax_of_films_is_negotiated_and_nothing_else(listen, sender):
    sending = sender(listen())
    syntaxes = sorted(SYNTAXES)
    for sop_class in FILM_CLASSES:
        association = sending.associate(*((sop_class, syntax) for syntax in syntaxes))
        assert len(association.accepted_contexts) == len(syntaxes)
        association.release()
    refused = [(sop_class, [EXPLICIT]) for sop_class in (*NO_FILMS, COMMITMENT)]
    mpeg = (CR, "1.2.840.10008.1.2.4.102")
    association = sending.associate((CR, EXPLICIT), *refused, mpeg)
    ((accepted,), rejected) = association.accepted_contexts, association.rejected_contexts
    assert (accepted.abstract_syntax, len(rejected)) == (CR, len(refused) + 1)
    association.release()


def test_a_sender_need_not_write_its_film_otherwise(listen, sender):
    jpeg = "1.2.840.10008.1.2.4.70"
    for wished in ([jpeg, EXPLICIT], [EXPLICIT, jpeg]):
        association = sender(listen()).associate((CR, wished))
        assert [each.transfer_syntax for each in association.accepted_contexts] == [[wished[0]]]
        association.release()


def test_dcmtk_sends_films_of_every_syntax_and_echoes(
    spool, film, recompress, lossless_syntaxes, listen, tmp_path
):
    if shutil.which("dcmsend") is None:
        pytest.skip("no dcmsend: apt-get install dcmtk (the Debian package)")
    folder = tmp_path / "to send"
    folder.mkdir()
    for name, syntax in lossless_syntaxes.items():
        (folder / name).write_bytes(recompress(film(SOPInstanceUID=generate_uid()), syntax))
    where = ["-aec", "CXR", "127.0.0.1", str(listen().port)]
    subprocess.run(["echoscu", *where], check=True, capture_output=True)
    told = subprocess.run(
        ["dcmsend", "-v", "--scan-directories", *where, str(folder)], capture_output=True, text=True
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert len(kept(spool)) == len(lossless_syntaxes)
    assert noted(spool) == []


def test_callers_are_those_of_allow_and_call_us_by_our_name(spool, listen, sender):
    listener = listen(allow=("MODALITY", "PACS"))
    for wrong, diagnostic in (({"calling": "STRANGER"}, 3), ({"called": "OTHER"}, 7)) * 2:
        association = sender(listener, **wrong).associate()
        assert association.is_rejected
        assert association.acceptor.primitive.diagnostic == diagnostic
    for allowed in ("MODALITY", "PACS"):
        association = sender(listener, calling=allowed).associate((VERIFICATION, EXPLICIT))
        assert association.send_c_echo().Status == 0x0000
        association.release()
    listener.stop(10)
    assert [code for code, _ in noted(spool)] == ["CALLER_UNKNOWN"] * 2, "once a minute for each"


def test_the_same_film_again_is_a_success_and_kept_once(spool, film, listen, sender, on_disk):
    path = on_disk(film())
    sending = sender(listen())
    statuses = [*sending.store(path, path), *sending.store(path)]
    assert [status.Status for status in statuses] == [0x0000] * 3
    assert len(kept(spool)) == 1
    assert spool.rows.counts()["received:dicom:again"] == 2


def test_the_same_values_in_another_syntax_are_the_same_film(spool, real_film, listen, sender):
    first, same = real_film("RG1_UNCI.dcm"), real_film("RG1_J2KI.dcm")  # of one UID
    statuses = sender(listen()).store(first, same)
    assert [status.Status for status in statuses] == [0x0000] * 2
    assert noted(spool) == []
    assert spool.rows.counts()["received:dicom:again"] == 1


def test_other_pixels_under_a_uid_are_a_success_noted_and_not_kept(
    spool, film, listen, sender, on_disk
):
    first, uid = film(), header_of(film()).SOPInstanceUID
    black = film(PixelData=bytes(len(pydicom.dcmread(io.BytesIO(first)).PixelData)))
    statuses = sender(listen()).store(on_disk(first), on_disk(black))
    assert [status.Status for status in statuses] == [0x0000] * 2
    assert noted(spool) == [("OTHER_PIXELS", uid)]
    (path,) = kept(spool)
    np.testing.assert_array_equal(_values(path.read_bytes()), _values(first))


@pytest.mark.parametrize(
    ("broken", "status", "code"),
    [
        (lambda film: film()[:5000], 0xC000, "NOT_READABLE"),
        (lambda film: film(StudyInstanceUID=None), 0xA900, "NO_STUDY"),
        (lambda film: film(StudyInstanceUID="1.2.no"), 0xA900, "NO_STUDY"),
        (lambda film: film(NumberOfFrames="3"), 0xA900, "MULTI_FRAME"),
    ],
)
def test_what_cannot_be_taken_has_a_status_a_comment_and_a_note(
    spool, film, listen, sender, on_disk, broken, status, code
):
    with pydicom.config.disable_value_validation():
        path = on_disk(broken(lambda **more: film(PatientName="SECRET^ONE", **more)))
    uid = header_of(film()).SOPInstanceUID
    good = on_disk(film())
    answers = sender(listen()).store(path, good)
    assert [answer.Status for answer in answers] == [status, 0x0000], "mended, it is taken"
    assert answers[0].ErrorComment.startswith(code)
    assert "SECRET" not in answers[0].ErrorComment
    assert noted(spool) == [(code, uid)]
    assert len(kept(spool)) == 1


def test_an_object_that_is_not_the_announced_one_is_refused(spool, film, listen, sender, on_disk):
    dataset, buffer = pydicom.dcmread(io.BytesIO(film())), io.BytesIO()
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    pydicom.dcmwrite(buffer, dataset)
    (status,) = sender(listen()).store(on_disk(buffer.getvalue()))
    assert status.Status == 0xA900
    assert [code for code, _ in noted(spool)] == ["UID_MISMATCH"]
    assert kept(spool) == []


@pytest.mark.parametrize("how", ["abort", "cut"])
def test_a_transfer_that_ends_in_the_middle_is_noted_and_leaves_nothing(
    spool, film, listen, sender, how
):
    sending = sender(listen())
    association = sending.associate()
    store = C_STORE()
    store.MessageID, store.Priority = 1, 2
    store.AffectedSOPClassUID, store.AffectedSOPInstanceUID = CR, "1.2.3"
    store.DataSet = io.BytesIO(film())
    message = C_STORE_RQ()
    message.primitive_to_message(store)
    for part in list(message.encode_msg(1, 4096))[:3]:
        association.dul.send_pdu(part)
    eventually(lambda: association.dul.to_provider_queue.empty())
    if how == "abort":
        association.abort()
    else:
        association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
    eventually(lambda: noted(spool) == [("TRANSFER_ABORTED", "1.2.3")])
    assert kept(spool) == []
    assert sending.associate().is_established


def test_while_there_is_no_room_films_may_come_again(spool, film, listen, sender, on_disk):
    path = on_disk(film())
    sending = sender(listen())
    spool._queue = 0
    (status,) = sending.store(path)
    assert (status.Status, status.ErrorComment[:10]) == (0xA700, "QUEUE_FULL")
    assert kept(spool) == []
    spool._queue = 1
    assert sending.store(path)[0].Status == 0x0000


def test_no_new_association_and_no_new_film_once_it_stops(spool, film, listen, sender, on_disk):
    listener = listen()
    association = sender(listener).associate()
    listener.stop_taking()
    listener.stop_taking()
    refused = sender(listener).associate()
    assert refused.is_rejected
    assert refused.acceptor.primitive.result == 2, "for now: the sender may come again"
    answer = association.send_c_store(on_disk(film()))
    assert (answer.Status, answer.ErrorComment[:9]) == (0xA700, "NODE_ENDS")
    assert noted(spool) == [("NODE_ENDS", None)]
    listener.stop(10)
    eventually(lambda: not association.is_established)
    assert kept(spool) == []
    with socket.socket() as late, pytest.raises(ConnectionRefusedError):
        late.connect(("127.0.0.1", listener.port))


def test_a_sender_that_never_pauses_holds_no_stop_up(
    spool, film, listen, sender, on_disk, monkeypatch
):
    monkeypatch.setattr("cxrclient.node.receive.listener._LAST_FILMS_S", 0.3)
    listener = listen()
    path = on_disk(film())
    association = sender(listener).associate()
    statuses = [association.send_c_store(path).Status]
    association.dimse_timeout = 2  # for an answer that its end has cost it

    def send_on():
        with contextlib.suppress(RuntimeError):  # it has been ended
            while True:
                statuses.append(association.send_c_store(path).get("Status"))

    sending = threading.Thread(target=send_on)
    sending.start()
    listener.stop(600)
    sending.join()
    assert statuses[0] == 0x0000
    assert set(statuses) <= {0x0000, 0xA700, None}, "None: its association was ended"
    assert len(kept(spool)) == 1


def test_anybody_may_send_from_this_machine_alone(listen):
    for host in ("0.0.0.0", "", "nobody.invalid"):
        with pytest.raises(NodeError, match="--allow"):
            listen(host=host)
    listen(host="0.0.0.0", allow=("MODALITY",))
    listen(host="localhost")


@pytest.mark.parametrize("wrong", [{"aet": "A" * 17}, {"aet": ""}, {"allow": ("A\\B",)}])
def test_a_title_that_is_none_is_refused_before_anything_begins(listen, wrong):
    with pytest.raises(UsageError, match="AE title"):
        listen(**wrong)


def test_a_port_is_waited_for_and_then_refused(listen, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr("cxrclient.node.network.addresses.WAIT_S", 0.2)
        with pytest.raises(NodeError, match=f"port {port} of 127.0.0.1"):
            listen(port=port)
    assert listen(port=port).port == port


def test_the_process_that_receives_stays_small(film, on_disk, tmp_path):
    """It holds eight films at a time, and imports nothing that makes results or graphs."""
    program = """
import sys
from pathlib import Path
from cxrclient.node import NodeOptions
from cxrclient.node.receive.intake import take_in
from cxrclient.node.receive.listener import DicomListener
from cxrclient.node.spool.spool import Spool
spool, film = map(Path, sys.argv[1:])
with Spool(spool, min_free_bytes=0) as opened:
    listener = DicomListener(NodeOptions(spool, (), "localhost:1", port=0), opened)
    listener.start()
    assert take_in(opened, film.read_bytes(), "MODALITY").state == "stored"
    listener.stop(1)
print(*sorted({"highdicom", "torch", "pymilvus", "grpc"} & set(sys.modules)))
"""
    told = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "another", on_disk(film())],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == []
