"""How peers are typed, what of it is shown, and which errors name the mistake."""

from __future__ import annotations

import base64
import logging

import pytest

from cxrclient.errors import UsageError
from cxrclient.node.network.association import DicomAddress
from cxrclient.node.options import NodeOptions, TlsFiles
from cxrclient.node.send.peers import peers_of
from scripted_pacs import Script, scripted_web
from waiting import eventually


def peers(tmp_path, *typed):
    return peers_of(NodeOptions(spool=tmp_path, peers=typed, server=""))


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("PACS@10.0.0.1:104", ("PACS", "10.0.0.1", 104)),
        ("A B-C@pacs.hospital.example:11112", ("A B-C", "pacs.hospital.example", 11112)),
        ("PACS@[::1]:104", ("PACS", "::1", 104)),
        ("PACS@[fe80::1%eth0]:104", ("PACS", "fe80::1%eth0", 104)),
    ],
)
def test_a_dicom_address(typed, address, tmp_path) -> None:
    read = DicomAddress.of(typed)
    assert (read.aet, read.host, read.port) == address
    assert [each.name for each in peers(tmp_path, typed)] == [typed]


@pytest.mark.parametrize(
    "typed",
    ["PACS", "PACS@host", "@host:104", "PACS@:104", "PACS@host:0", "PACS@host:65536", "",
     "PACS@::1:104", "ABCDEFGHIJKLMNOPQ@host:104", "A\\B@host:104", "PACS@ho st:104",
     "ftp://host/dicom-web", "https:///dicom-web", "https://host:x/dicom-web",
     "https://host:99999/", "https://host/dicom-web?a=b", "https://ho st/dicom-web",
     "  @host:104", "PACS@host/path:104"],
)  # fmt: skip
def test_what_is_no_address_is_named(typed, tmp_path) -> None:
    with pytest.raises(UsageError, match=r"Type it as|no AE title"):
        peers(tmp_path, typed)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("PACS@host:104", "PACS@HOST:104"),
        ("PACS@[::1]:104", "PACS@[::1]:0104"),
        ("https://host/dicom-web", "https://HOST:443/dicom-web/"),
        ("https://a:b@host/dicom-web", "https://host/dicom-web"),
    ],
)
def test_the_same_peer_twice_is_a_mistake(one, two, tmp_path) -> None:
    with pytest.raises(UsageError, match="twice"):
        peers(tmp_path, one, two)


def test_peers_that_differ_are_several(tmp_path) -> None:
    typed = ["PACS@host:104", "PACS@host:105", "pacs@host:104", "https://host/dicom-web",
             "http://host/dicom-web", "https://host/other", "http://[::1]:8042/web"]  # fmt: skip
    assert [each.name for each in peers(tmp_path, *typed)] == typed


def test_credentials_are_used_and_never_shown(office, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    script = Script()
    with scripted_web(script):
        office.start(f"http://us%40er:se%3Acret@127.0.0.1:{script.port}/dicom-web/")
        (peer,) = office.couriers.states()
        assert peer == f"http://127.0.0.1:{script.port}/dicom-web"
        office.film()
        eventually(lambda: office.deliveries(peer) == {"delivered": 1}, "not delivered")
    assert script.callers == {"Basic " + base64.b64encode(b"us@er:se:cret").decode()}
    assert "cret" not in caplog.text


@pytest.mark.parametrize(
    "typed", ["https://me:secret@host:x/", "ftp://me:secret@host/", "me:secret@host"]
)
def test_a_mistake_does_not_show_a_password(typed, tmp_path) -> None:
    with pytest.raises(UsageError) as raised:
        peers(tmp_path, typed)
    assert "secret" not in str(raised.value)


def test_tls_files_that_cannot_be_used_are_named_before_anything_begins(tmp_path) -> None:
    options = NodeOptions(
        spool=tmp_path, peers=("PACS@host:104",), server="", peer_tls=TlsFiles(tmp_path / "no.pem")
    )
    with pytest.raises(UsageError, match=r"no\.pem"):
        peers_of(options)
