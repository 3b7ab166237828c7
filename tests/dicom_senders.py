"""Senders of DICOM for tests of what receives it, and a look at what it made of theirs."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE

from cxrclient.node.network.association import keep_answers
from cxrclient.node.spool.look import spool_status
from cxrclient.node.spool.spool import Spool

CR = "1.2.840.10008.5.1.4.1.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"


@dataclass(frozen=True)
class Sender:
    """A modality that sends to a port."""

    port: int
    called: str = "CXR"
    calling: str = "MODALITY"
    tls: Any = None

    def associate(self, *contexts: tuple[str, str | list[str]], **told: Any) -> Association:
        entity = AE(ae_title=self.calling)
        entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = 60
        for sop_class, syntaxes in contexts or [(CR, EXPLICIT)]:
            entity.add_requested_context(sop_class, syntaxes)
        association = entity.associate(
            "127.0.0.1",
            self.port,
            ae_title=self.called,
            tls_args=self.tls and (self.tls, "127.0.0.1"),
            **told,
        )
        keep_answers(association)  # a trap of the senders, not of what is tested
        return association

    def store(self, *files: Path) -> list[Dataset]:
        """Send files byte for byte over one association; the status of each."""
        metas = [pydicom.filereader.read_file_meta_info(file) for file in files]
        wished = {(str(m.MediaStorageSOPClassUID), str(m.TransferSyntaxUID)) for m in metas}
        association = self.associate(*wished)
        assert association.is_established
        try:
            return [association.send_c_store(file) for file in files]
        finally:
            association.release()


def data_pdu(fragment: bytes, context: int = 1) -> bytes:
    """A P-DATA-TF PDU of one fragment, which begins with its message control header."""
    value = struct.pack(">LB", len(fragment) + 1, context) + fragment
    return b"\x04\x00" + struct.pack(">L", len(value)) + value


def store_command(uid: str = "1.2.3") -> bytes:
    """The command set of a C-STORE request as a PDU."""
    store = C_STORE()
    store.MessageID, store.Priority = 1, 2
    store.AffectedSOPClassUID, store.AffectedSOPInstanceUID = CR, uid
    message = C_STORE_RQ()
    message.primitive_to_message(store)
    message.command_set.CommandDataSetType = 1
    (part,) = message.encode_msg(1, 4096)
    ((_, fragment),) = part.presentation_data_value_list
    return data_pdu(fragment)


def header_of(file: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(file), stop_before_pixels=True)


def noted(spool: Spool) -> list[tuple[str, str | None]]:
    """Code and film of each note, the latest first."""
    trouble = spool_status(spool.folder)["trouble"]
    return [(row["code"], row["uid"]) for row in trouble if row["what"] == "note"]


def kept(spool: Spool) -> list[Path]:
    """Every file of films in the spool, half-written ones too."""
    return [path for path in (spool.folder / "films").rglob("*") if path.is_file()]
