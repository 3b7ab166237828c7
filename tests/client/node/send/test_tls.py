"""TLS with peers: what is expired, unknown or missing is said, and nothing is sent."""

from __future__ import annotations

from contextlib import closing
from datetime import date

import pytest
from requests import adapters

from cxrclient.errors import PacsRefused, UsageError
from cxrclient.node.network.association import PeerError
from cxrclient.node.network.tls import server_context
from cxrclient.node.options import NodeOptions, TlsFiles
from cxrclient.node.pull.dicomweb import DicomWebPacs
from cxrclient.node.pull.pacs import Wanted
from cxrclient.node.send.peers import peers_of
from scripted_pacs import Script, scripted_dimse, scripted_web
from waiting import eventually


def pair(folder, name):
    return folder / f"{name}.pem", folder / f"{name}.key"


@pytest.mark.parametrize("by", ["dimse", "web"])
@pytest.mark.parametrize(
    ("theirs", "ours", "word"),
    [
        ("expired", "client", "certificate has expired"),
        ("stranger", "client", "unable to get local issuer certificate"),
        ("elsewhere", "client", "is not valid for"),
        ("server", None, "No TLS connection"),
        ("server", "stranger", "No TLS connection"),
    ],
)
def test_a_certificate_that_does_not_do_is_said_and_tried_again(
    by, theirs, ours, word, office, signed
) -> None:
    script = Script(tls=server_context(TlsFiles(signed / "ca.pem", *pair(signed, theirs))))
    files = TlsFiles(signed / "ca.pem", *(pair(signed, ours) if ours else ()))
    with (scripted_web if by == "web" else scripted_dimse)(script):
        place = f"127.0.0.1:{script.port}"
        peer = f"https://{place}/dicom-web" if by == "web" else f"PACS@{place}"
        office.start(peer, peer_tls=files)
        office.film()
        said = eventually(lambda: office.codes().get("PEER_TLS"), "not seen")
        assert word in said
        assert office.deliveries(peer) == {"waiting": 1}
        office.stop()
        assert script.got == {}


@pytest.mark.parametrize("by", ["dimse", "web"])
def test_over_tls_results_arrive(by, office, signed) -> None:
    script = Script(tls=server_context(TlsFiles(signed / "ca.pem", *pair(signed, "server"))))
    files = TlsFiles(signed / "ca.pem", *pair(signed, "client"))
    with (scripted_web if by == "web" else scripted_dimse)(script):
        place = f"localhost:{script.port}"
        peer = f"https://{place}/dicom-web" if by == "web" else f"PACS@{place}"
        office.start(peer, peer_tls=files)
        office.film()
        eventually(lambda: office.deliveries(peer) == {"delivered": 1}, "not delivered")
        office.stop()


def test_a_peer_without_tls_is_said_to_speak_none(office, signed) -> None:
    script = Script()
    with scripted_dimse(script):
        office.start(f"PACS@127.0.0.1:{script.port}", peer_tls=TlsFiles(signed / "ca.pem"))
        office.film()
        eventually(lambda: "PEER_TLS" in office.codes(), "not seen")
        office.stop()


@pytest.fixture
def trusting(signed, monkeypatch):
    """Puts an authority into the system's store, and `ca` everywhere else that libraries look."""

    def trust(name):
        monkeypatch.setenv("SSL_CERT_FILE", str(signed / f"{name}.pem"))
        monkeypatch.setenv("SSL_CERT_DIR", str(signed / "nothing"))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(signed / "ca.pem"))
        monkeypatch.setattr(adapters, "DEFAULT_CA_BUNDLE_PATH", str(signed / "ca.pem"))

    return trust


@pytest.fixture
def call(signed, tmp_path):
    """Calls a peer whose certificate `ca` has signed, and names no authority."""
    ours = TlsFiles(None, *pair(signed, "client"))
    script = Script(tls=server_context(TlsFiles(signed / "ca.pem", *pair(signed, "server"))))

    def once(by):
        with (scripted_dimse if by == "dimse" else scripted_web)(script):
            place = f"localhost:{script.port}"
            peer = f"PACS@{place}" if by == "dimse" else f"https://{place}/dicom-web"
            if by == "pull":
                with closing(DicomWebPacs(peer, ours, 60)) as pacs:
                    return pacs.studies_of(date.today(), Wanted(date.today(), date.today()))
            (called,) = peers_of(NodeOptions(tmp_path, (peer,), "", peer_tls=ours))
            try:
                return called.check()
            finally:
                called.close()

    return once


@pytest.mark.parametrize("by", ["dimse", "web", "pull"])
def test_without_an_authority_the_systems_are_trusted_and_no_librarys(by, call, trusting) -> None:
    trusting("ca")
    call(by)
    trusting("unknown")
    with pytest.raises((PeerError, PacsRefused), match=r"No TLS|certificate does not do"):
        call(by)


@pytest.mark.parametrize("by", ["dimse", "web", "pull"])
def test_a_system_without_a_store_is_an_error_before_anything_is_sent(by, call, trusting) -> None:
    trusting("nothing")
    with pytest.raises(UsageError, match="no store of authorities"):
        call(by)
