"""TLS with peers: what is expired, unknown or missing is said, and nothing is sent."""

from __future__ import annotations

import pytest

from cxrclient.node.network.tls import server_context
from cxrclient.node.options import TlsFiles
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
