"""A spool with every kind of trouble, made by the spool itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrclient.node.spool.records import Arrival, Outcome, ResultObject
from cxrclient.node.spool.spool import Spool

PACS, WEB = "PACS@10.1.2.3:104", "https://pacs.example/dicom-web"


@pytest.fixture
def troubled(tmp_path: Path) -> Path:
    """Nine films: one fails, one waits, one is turned away; of six both peers have four."""
    objects = (ResultObject("sr", "1.2", "1.3", "1.2.840.10008.5.1.4.1.1.88.34", "sr.dcm"),)
    with Spool(tmp_path / "spool", [PACS, WEB], min_free_bytes=0) as spool:
        for number in range(9):
            arrival = Arrival(f"1.2.{number}", "1.9", "1.8", "1.7", f"{number}", "ROOM1")
            spool.take(arrival, b"a film")
            if number > 6:
                spool.take(arrival, b"a film")
            job = spool.claim_film(0)
            assert job is not None
            if number == 0:
                spool.finish(job, Outcome("failed", "WORKER_DIED", "It died three times."))
            elif number == 1:
                spool.put_off(job, "WORKER_DIED", "It died once.", blame=True)
            elif number == 2:
                spool.finish(job, Outcome("rejected", "LATERAL", "It is seen from the side."))
            else:
                spool.finish(job, Outcome("ok", objects=objects))
        for number in range(6):
            delivery = spool.claim_delivery(PACS, 0)
            assert delivery is not None
            if number < 2:
                spool.refuse(delivery, "PEER_REFUSED_OBJECT", "The class is not taken (0x0122).")
            else:
                spool.delivered(delivery)
            delivery = spool.claim_delivery(WEB, 0)
            assert delivery is not None
            if number == 5:
                spool.delay(delivery, "PEER_UNREACHABLE", "The connection is refused.")
            else:
                spool.delivered(delivery)
        for _ in range(3):
            spool.note("CALLER_UNKNOWN", sender="STRANGER")
    return tmp_path / "spool"
