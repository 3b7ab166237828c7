"""Results in a real PACS, Orthanc: by C-STORE and by STOW-RS, whatever happens to it."""

from __future__ import annotations

import io
import os
import signal
import urllib.request
from collections import Counter
from pathlib import Path

import pydicom
import pytest

from clothes import CLOTHES
from cxrclient.node.options import TlsFiles
from orthanc import Pacs, free_port, running_pacs
from waiting import eventually, programs_with

FINE = (True, "It is there, and lets us ask what it has.")
both = pytest.mark.parametrize("by", ["dimse", "web"])


def peer_of(pacs: Pacs, by: str) -> str:
    if by == "web":
        return f"http://127.0.0.1:{pacs.http_port}/dicom-web"
    return f"{pacs.aet}@127.0.0.1:{pacs.dicom_port}"


def stored(pacs: Pacs) -> Counter[str]:
    """SOP Instance UID → how often it is there."""
    found = pacs.get("instances?expand")
    return Counter(each["MainDicomTags"]["SOPInstanceUID"] for each in found)


def uid_of(path: Path) -> str:
    return str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def uids_of(*films: dict[str, Path]) -> Counter[str]:
    return Counter(uid_of(path) for files in films for path in files.values())


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    """An Orthanc for the whole file; each test's films have numbers of their own."""
    with running_pacs(tmp_path_factory.mktemp("pacs"), DicomCheckCalledAet=True) as running:
        yield running


def read_back(pacs: Pacs, uid: str) -> pydicom.Dataset:
    (key,) = pacs.get("tools/find", {"Level": "Instance", "Query": {"SOPInstanceUID": uid}})
    url = f"http://127.0.0.1:{pacs.http_port}/instances/{key}/file"
    with urllib.request.urlopen(url, timeout=60) as answer:
        return pydicom.dcmread(io.BytesIO(answer.read()))


def test_results_of_every_kind_of_header_arrive_as_they_are(pacs, office, tmp_path) -> None:
    with running_pacs(tmp_path / "pacs") as other:
        at = {peer_of(pacs, "dimse"): pacs, peer_of(other, "web"): other}
        office.start(*at)
        sent = [office.film(number, clothes) for number, clothes in enumerate(CLOTHES)]
        for peer, there in at.items():
            everything = {"delivered": len(CLOTHES)}
            eventually(lambda p=peer, e=everything: office.deliveries(p) == e, "not delivered")
            for clothes, files in zip(CLOTHES, sent, strict=True):
                for path in files.values():
                    found = read_back(there, uid_of(path))
                    assert pydicom.dcmread(path) == found, (clothes, path.name)
        assert office.couriers.states() == dict.fromkeys(at, FINE)
    assert office.codes() == {}


@both
def test_what_is_sent_twice_is_there_once_and_the_second_time_only_asked_for(
    by, pacs, office, monkeypatch
) -> None:
    peer = peer_of(pacs, by)
    office.start(peer)
    files = office.film(2001 if by == "web" else 2000)
    eventually(lambda: office.deliveries(peer) == {"delivered": 1}, "not delivered")
    office.stop()
    for path in office.folder.glob("node.sqlite*"):  # nothing is known of the delivery now
        path.unlink()
    told = "cxrclient.node.send.{}"
    part = "web_peer.WebPeer" if by == "web" else "dimse_peer.DimsePeer"
    monkeypatch.setattr(f"{told.format(part)}.store", lambda *_: pytest.fail("it was sent again"))

    office.start(peer)
    eventually(lambda: office.deliveries(peer) == {"delivered": 1}, "not delivered")

    assert office.codes() == {}
    there = stored(pacs)
    assert {there[uid] for uid in uids_of(files)} == {1}


def test_a_pacs_that_is_away_gets_everything_when_it_is_back_and_holds_up_no_other(
    pacs, office, tmp_path
) -> None:
    ports = {"DicomPort": free_port(), "HttpPort": free_port()}
    away = [peer_of(Pacs(*ports.values()), by) for by in ("dimse", "web")]
    office.start(*away, here := peer_of(pacs, "dimse"))
    films = [office.film(3000 + at) for at in range(6)]

    eventually(lambda: office.deliveries(here) == {"delivered": 6}, "held up")
    eventually(lambda: not any(office.couriers.states()[each][0] for each in away), "not seen")
    eventually(lambda: set(office.codes()) == {"PEER_UNREACHABLE"}, "not told")
    states = office.couriers.states()
    assert states[here] == FINE
    assert states[away[0]][1].startswith("PEER_UNREACHABLE: Nothing answers")
    waits = [office.deliveries(each) for each in away]
    assert waits == [{"waiting": 6}] * 2

    with running_pacs(tmp_path / "late", **ports) as late:
        for each in away:
            eventually(lambda each=each: office.deliveries(each) == {"delivered": 6}, "lost")
        assert stored(late) == uids_of(*films)
    assert office.codes() == {}


@both
def test_a_pacs_that_is_killed_in_the_middle_has_all_in_the_end_and_nothing_twice(
    by, office, tmp_path
) -> None:
    folder = tmp_path / "pacs"
    with running_pacs(folder) as first:
        office.start(peer := peer_of(first, by))
        films = [office.film(4000 + at) for at in range(12)]
        eventually(lambda: office.deliveries(peer).get("delivered", 0) >= 2, "nothing arrives")
        (process,) = programs_with(folder / "orthanc.json")
        os.kill(process, signal.SIGKILL)
        films += [office.film(4012 + at) for at in range(3)]
        eventually(lambda: not office.couriers.states()[peer][0], "not seen")
    ports = {"DicomPort": first.dicom_port, "HttpPort": first.http_port}
    with running_pacs(folder, **ports) as second:
        eventually(lambda: office.deliveries(peer) == {"delivered": 15}, "lost")
        there = stored(second)
    assert there == uids_of(*films)


def test_a_pacs_that_is_called_by_another_name_is_tried_again_and_said_to_refuse(
    pacs, office
) -> None:
    peer = f"OTHER@127.0.0.1:{pacs.dicom_port}"
    office.start(peer)
    office.film(5000)

    eventually(lambda: "PEER_REFUSED" in office.codes(), "not seen")

    assert "called ae title not recognised" in office.codes()["PEER_REFUSED"]
    assert office.couriers.states()[peer][1].startswith("PEER_REFUSED")
    assert office.deliveries(peer) == {"waiting": 1}


def test_a_pacs_that_speaks_tls_with_both_certificates_gets_results(
    office, signed, tmp_path
) -> None:
    with running_pacs(
        tmp_path / "pacs",
        DicomTlsEnabled=True,
        DicomTlsCertificate=str(signed / "server.pem"),
        DicomTlsPrivateKey=str(signed / "server.key"),
        DicomTlsTrustedCertificates=str(signed / "ca.pem"),
    ) as secure:
        ours = TlsFiles(signed / "ca.pem", signed / "client.pem", signed / "client.key")
        office.start(peer := peer_of(secure, "dimse"), peer_tls=ours)
        files = office.film(6000)
        eventually(lambda: office.deliveries(peer) == {"delivered": 1}, "not delivered")
        assert stored(secure) == uids_of(files)
