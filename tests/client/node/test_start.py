"""What the node does first: its limit of open files, and a word on its certificates."""

from __future__ import annotations

import errno
import logging
import resource
from contextlib import contextmanager

import pytest

from cxrclient.node import run
from cxrclient.node.descriptors import MOST, raise_limit, ran_out
from cxrclient.node.network.association import (
    ECHO,
    IMPLICIT,
    DicomAddress,
    PeerError,
    open_association,
)
from cxrclient.node.options import NodeOptions, TlsFiles
from cxrclient.node.send.web_peer import WebPeer
from cxrclient.node.spool.arrival import arrival_of
from cxrclient.node.spool.records import NoRoom
from cxrclient.node.spool.spool import Spool


@contextmanager
def descriptors(soft: int):
    """Sets the limit of open files for a while."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be():
    with descriptors(512) as hard:
        raise_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(MOST, hard), hard)


def test_a_limit_that_is_higher_already_stays():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[0] < MOST:
        pytest.skip("the limit of this machine is low")
    raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_the_cause_is_found_under_other_errors():
    other = ValueError()
    other.__context__ = OSError(errno.EMFILE, "Too many open files")

    assert ran_out(other)
    assert not ran_out(OSError(errno.ENOSPC, "No space left on device"))


def ask_a_dicom_peer() -> None:
    open_association(DicomAddress("PACS", "127.0.0.1", 9), aet="CXR", contexts=[(ECHO, IMPLICIT)])


def ask_a_web_peer() -> None:
    WebPeer("web", "http://127.0.0.1:9/dicom-web").check()


@pytest.mark.parametrize("ask", [ask_a_dicom_peer, ask_a_web_peer])
def test_without_descriptors_no_peer_is_called_away(ask):
    with pytest.raises(PeerError) as away:
        ask()
    with descriptors(3), pytest.raises(PeerError) as told:
        ask()

    assert away.value.code == "PEER_UNREACHABLE"
    assert told.value.code == "NO_DESCRIPTORS"


def test_without_descriptors_the_spool_does_not_call_its_disk_full(tmp_path, film):
    with Spool(tmp_path / "spool", min_free_bytes=0) as spool:
        arrival = arrival_of(film(), "CT")
        with descriptors(3), pytest.raises(NoRoom) as told:
            spool.take(arrival, film())
        assert told.value.code == "NO_DESCRIPTORS"
        assert spool.take(arrival, film()) == "stored"


@pytest.mark.parametrize(("name", "said"), [("expired", "has expired"), ("server", "it ends on")])
def test_a_certificate_of_ours_that_ends_soon_is_told_at_the_start(
    tmp_path, certificates, caplog, monkeypatch, name, said
):
    @contextmanager
    def node(_options):
        class Runs:
            where = ("CXR", 1, 2, "127.0.0.1")

            def keep_up(self, _until):
                pass

        yield Runs()

    monkeypatch.setattr(run, "Node", node)
    tls = TlsFiles(None, certificates / f"{name}.pem", certificates / f"{name}.key")

    with caplog.at_level(logging.WARNING):
        run.run_node(NodeOptions(tmp_path, (), "127.0.0.1:1", tls=tls))

    assert "certificate of the listeners" in caplog.text
    assert said in caplog.text
    assert "Renew" in caplog.text
