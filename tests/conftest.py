"""Shared fixtures: a real Triton server for the whole session, and small films to send to it."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# pymilvus configures logging when it is imported, which closes the handlers that are there; absl's
# (imported by test modules through OpenVINO's or torch's friends) closes its stream with it, and
# that is pytest's own file for stderr. So pymilvus comes first.
import pymilvus  # noqa: F401
import pytest

# tiny_repository.py and closed_apis.py lie beside this file.
sys.path.append(str(Path(__file__).parent))


@dataclass(frozen=True)
class RunningServer:
    """A ready server: gRPC, HTTP and metrics as HOST:PORT, and what it serves."""

    grpc_address: str
    http_address: str
    metrics_address: str
    repository: Path
    log: Path


@pytest.fixture(scope="session")
def model_repository() -> Path:
    """The committed repository, or the one that $CXR_TEST_REPOSITORY names."""
    committed = Path(__file__).parents[1] / "model_repository"
    return Path(os.environ.get("CXR_TEST_REPOSITORY", committed))


@pytest.fixture(scope="session")
def triton_server(
    model_repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """The real tritonserver on free ports, with the real ensemble on the CPU."""
    if sys.platform != "linux":
        pytest.skip("tritonserver runs on Linux only")
    from cxrclient.embedded import EmbeddedServer

    log = tmp_path_factory.mktemp("triton") / "triton.log"
    with EmbeddedServer(model_repository, device="cpu", log_file=log) as server:
        addresses = (server.grpc_address, server.http_address, server.metrics_address)
        yield RunningServer(*addresses, server.repository, log)


@pytest.fixture
def tiny_repository(tmp_path: Path) -> Path:
    """An ensemble of one graph that adds nothing: loads in a second, with the real backends."""
    import tiny_repository

    return tiny_repository.write(tmp_path / "tiny")


@pytest.fixture(scope="session")
def drawn_film() -> Callable[..., np.ndarray]:
    """Draws a frontal film: uint16 [rows, columns], 12 bits, air dark, two lungs in a body."""

    def draw(seed: int = 0, rows: int = 240, columns: int = 200) -> np.ndarray:
        random = np.random.default_rng(seed)
        y, x = np.mgrid[0:rows, 0:columns] / np.array([rows, columns]).reshape(2, 1, 1)
        body = ((x - 0.5) / 0.46) ** 4 + ((y - 0.55) / 0.55) ** 4 < 1
        lungs = np.zeros_like(body)
        for centre in (0.3, 0.7):
            shift = random.uniform(-0.02, 0.02)
            lungs |= ((x - centre - shift) / 0.14) ** 2 + ((y - 0.5) / 0.3) ** 2 < 1
        film = 300 + 2400 * body - 1500 * (lungs & body) + random.normal(0, 40, body.shape)
        return np.clip(film, 0, 4095).astype(np.uint16)

    return draw


@pytest.fixture(scope="session")
def write_dicom(drawn_film: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """Writes a film as DICOM: `write_dicom(path, pixels, Keyword=value, …)`; None leaves out."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

    def write(path: Path, pixels: np.ndarray | None = None, **attributes: Any) -> Path:
        pixels = drawn_film() if pixels is None else pixels
        film = Dataset()
        film.SOPClassUID = ComputedRadiographyImageStorage
        film.SOPInstanceUID = generate_uid(entropy_srcs=[path.name])
        film.Modality = "CR"
        film.BodyPartExamined = "CHEST"
        film.ViewPosition = "PA"
        film.SamplesPerPixel = 1
        film.PhotometricInterpretation = "MONOCHROME2"
        film.Rows, film.Columns = pixels.shape[:2]
        film.BitsAllocated = 8 * pixels.dtype.itemsize
        film.BitsStored = min(12, film.BitsAllocated)
        film.HighBit = film.BitsStored - 1
        film.PixelRepresentation = 0
        film.PixelData = pixels.tobytes()
        for keyword, value in attributes.items():
            setattr(film, keyword, value)
            if value is None:
                delattr(film, keyword)
        film.file_meta = FileMetaDataset()
        film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        film.file_meta.MediaStorageSOPClassUID = film.SOPClassUID
        film.file_meta.MediaStorageSOPInstanceUID = film.get("SOPInstanceUID", generate_uid())
        film.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.fixture(scope="session")
def real_film() -> Callable[[str], Path]:
    """Finds a film of the PyPI package pydicom-data, such as RG1_UNCR.dcm; never downloads."""
    from pydicom.data import get_testdata_file

    def find(name: str) -> Path:
        found = get_testdata_file(name, download=False)
        assert found, f"{name} is missing: pip install pydicom-data"
        return Path(str(found))

    return find


# Every transfer syntax that can hold a film without loss, and that something here can write.
LOSSLESS_SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "deflated": "1.2.840.10008.1.2.1.99",
    "big endian": "1.2.840.10008.1.2.2",
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG lossless": "1.2.840.10008.1.2.4.57",
    "JPEG lossless, first order": "1.2.840.10008.1.2.4.70",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG-LS near, with no loss": "1.2.840.10008.1.2.4.81",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "JPEG 2000, reversible": "1.2.840.10008.1.2.4.91",
}


@pytest.fixture(params=LOSSLESS_SYNTAXES.values(), ids=LOSSLESS_SYNTAXES.keys())
def lossless_syntax(request: pytest.FixtureRequest) -> str:
    """A transfer syntax; the test runs once with each."""
    return str(request.param)


@pytest.fixture(scope="session")
def lossless_syntaxes() -> dict[str, str]:
    """All of them, by name."""
    return LOSSLESS_SYNTAXES


@pytest.fixture(scope="session")
def recompress(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes, str], bytes]:
    """Writes an explicit little endian object in another transfer syntax, bit for bit the same."""
    import io

    import pydicom
    from pydicom import uid

    folder = tmp_path_factory.mktemp("recompressed")
    twins = {uid.JPEG2000: uid.JPEG2000Lossless, uid.JPEGLSNearLossless: uid.JPEGLSLossless}

    def by_gdcm(encoded: bytes, process: str) -> bytes:
        import gdcm

        before, after = folder / "before.dcm", folder / "after.dcm"
        before.write_bytes(encoded)
        reader, change = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax()
        reader.SetFileName(str(before))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, process)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(after))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return after.read_bytes()

    def write(encoded: bytes, syntax: str) -> bytes:
        if syntax == uid.JPEGLossless:
            return by_gdcm(encoded, "JPEGLosslessProcess14")
        if syntax == uid.JPEGLosslessSV1:
            return by_gdcm(encoded, "JPEGLosslessProcess14_1")
        film, buffer = pydicom.dcmread(io.BytesIO(encoded)), io.BytesIO()
        form = {}
        if syntax in (uid.ImplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian):
            form = {"implicit_vr": syntax == uid.ImplicitVRLittleEndian, "little_endian": True}
        elif syntax == uid.ExplicitVRBigEndian:
            form = {"implicit_vr": False, "little_endian": False}
            if film.BitsAllocated == 16:
                film.PixelData = np.frombuffer(film.PixelData, "<u2").byteswap().tobytes()
        else:
            # GDCM's RLE encoder ends the process where the number of rows is odd.
            plugin = "pylibjpeg" if syntax == uid.RLELossless else ""
            film.compress(
                twins.get(syntax, syntax), generate_instance_uid=False, encoding_plugin=plugin
            )
        film.file_meta.TransferSyntaxUID = uid.UID(syntax)
        pydicom.dcmwrite(buffer, film, enforce_file_format=True, **form)
        return buffer.getvalue()

    return write


class Wire:
    """A TCP connection to a real server that can be cut and mended: the server's loss, made easy.

    `cut` closes the client's end and refuses what comes; `mend` listens again at the same port.
    `hold` passes nothing on, as when a server hangs, until `flow`. `sent` is what went to the
    server. The server's end stays open until the test is over: Triton 2.51 may hang when a request
    is cancelled, and other tests need it.
    """

    def __init__(self, target: str) -> None:
        self.lead_to(target)
        self._port = 0
        self._near: list[socket.socket] = []
        self._far: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._flowing = threading.Event()
        self._cut_at: int | None = None
        self.sent = bytearray()
        self.mend()

    @property
    def address(self) -> str:
        """HOST:PORT to reach the server through."""
        return f"127.0.0.1:{self._port}"

    def lead_to(self, target: str) -> None:
        """Lead what comes from here on to another server."""
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))

    def mend(self) -> None:
        """Listen, at the port of before."""
        self._flowing.set()
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def hold(self) -> None:
        """Pass nothing on from here."""
        self._flowing.clear()

    def flow(self) -> None:
        """Pass on what was held, and what comes."""
        self._flowing.set()

    def cut(self) -> None:
        """Close the client's end, and refuse new ones."""
        listener, self._listener = self._listener, None
        _close([*self._near, *([listener] if listener else [])])
        self._near.clear()
        self._flowing.set()

    def cut_after(self, n_bytes: int) -> None:
        """Cut as soon as so much more has come for the server."""
        self._cut_at = len(self.sent) + n_bytes

    def end(self) -> None:
        """Close everything, once the server has answered what it was asked."""
        self.cut()
        time.sleep(0.2)
        _close(self._far)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self._target)
                self._near.append(near)
                self._far.append(far)
                for ends in ((near, far, self.sent), (far, near, bytearray())):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, seen: bytearray) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._flowing.wait()
                seen += data
                if self._cut_at is not None and len(self.sent) >= self._cut_at:
                    self._cut_at = None
                    self.cut()
                with contextlib.suppress(OSError):  # a lost end; the other one is read to its end
                    sink.sendall(data)


def _close(sockets: list[socket.socket]) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


@pytest.fixture(scope="session")
def make_wire() -> type[Wire]:
    """Ways to other servers: `make_wire(HOST:PORT)`; whoever makes one ends it."""
    return Wire


@pytest.fixture
def wire(triton_server: RunningServer) -> Iterator[Wire]:
    """A way to the real server that the test can cut."""
    wire = Wire(triton_server.grpc_address)
    yield wire
    wire.end()


@pytest.fixture
def wire_to() -> Iterator[Callable[[str], Wire]]:
    """Makes ways to a server at HOST:PORT that the test can cut."""
    wires: list[Wire] = []

    def make(target: str) -> Wire:
        wires.append(Wire(target))
        return wires[-1]

    yield make
    for each in wires:
        each.end()


@pytest.fixture
def free_address() -> str:
    """HOST:PORT where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"
