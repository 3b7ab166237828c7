"""An answer of a peer reaches who asked, and no thread of pynetdicom takes it before."""

from __future__ import annotations

from cxrclient.node.network.association import (
    ECHO,
    IMPLICIT,
    DicomAddress,
    close_association,
    open_association,
)
from orthanc import running_pacs


def test_only_who_waits_for_an_answer_gets_it(tmp_path):
    with running_pacs(tmp_path) as pacs:
        peer = DicomAddress(pacs.aet, "127.0.0.1", pacs.dicom_port)
        association = open_association(peer, aet="CXR", contexts=[(ECHO, IMPLICIT)])
        association.dimse.msg_queue.put((1, "an answer"))

        assert association.dimse.get_msg(block=False) == (None, None)
        assert association.dimse.get_msg(block=True) == (1, "an answer")
        assert association.send_c_echo().Status == 0
        close_association(association)
