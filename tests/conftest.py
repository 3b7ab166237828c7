"""A real Triton server for the whole session, small films to send to it, and CI's rule of skips."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Three workers share two cores: threads of one sum wait for each other longer than they work.
# Before numpy and torch are imported, and for the programs that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["CXR_CONFIG"] = ""  # nobody's own configuration file

import numpy as np

# pymilvus configures logging when it is imported, which closes the handlers that are there; absl's
# (imported by test modules through OpenVINO's or torch's friends) closes its stream with it, and
# that is pytest's own file for stderr. So pymilvus comes first.
import pymilvus  # noqa: F401
import pytest

# tiny_repository.py, decoding_films.py and others lie beside this file.
sys.path.append(str(Path(__file__).parent))

from skips import *  # noqa: F403  # its hooks

# In the background of a script (`&`, nohup, some CI runners) SIGINT is ignored, and what is started
# there inherits that. Tests of Ctrl-C start their programs as a terminal does.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
    from cxrclient.serving.embedded import EmbeddedServer

    log = tmp_path_factory.mktemp("triton") / "triton.log"
    with EmbeddedServer(model_repository, device="cpu", log_file=log) as server:
        addresses = (server.grpc_address, server.http_address, server.metrics_address)
        yield RunningServer(*addresses, server.repository, log)


Subset = tuple[str, ...]


def _asked(client: Any, module: Any, film: bytes, outputs: Subset) -> dict[str, np.ndarray]:
    """What the ensemble answers of one film; all that it has where `outputs` is empty."""
    image = module.InferInput("IMAGE", [1, 1], "BYTES")
    image.set_data_from_numpy(np.array([[film]], dtype=np.object_))
    wanted = [module.InferRequestedOutput(name) for name in outputs] or None
    result = client.infer("cxr", [image], outputs=wanted)
    response = result.get_response()
    answered = response["outputs"] if isinstance(response, dict) else response.outputs
    names = [each["name"] if isinstance(each, dict) else each.name for each in answered]
    return {name: result.as_numpy(name) for name in names}


@pytest.fixture(scope="session")
def unequal_subsets() -> Callable[..., dict[Subset, str]]:
    """Asks an ensemble for subsets of its outputs: `unequal_subsets(protocol, address, film, …)`.

    Returns those that failed, or that differ from what one request for all outputs answers, and
    why.
    """
    import tritonclient.grpc
    import tritonclient.http
    from tritonclient.utils import InferenceServerException

    modules: dict[str, Any] = {"grpc": tritonclient.grpc, "http": tritonclient.http}

    def ask(protocol: str, address: str, film: bytes, subsets: list[Subset]) -> dict[Subset, str]:
        module, unequal = modules[protocol], {}
        client = module.InferenceServerClient(address)
        whole = _asked(client, module, film, ())
        for subset in subsets:
            try:
                answer = _asked(client, module, film, subset)
                assert set(answer) == set(subset), f"it answers {sorted(answer)}"
                for name in subset:
                    np.testing.assert_array_equal(answer[name], whole[name], err_msg=name)
            except (InferenceServerException, AssertionError) as error:
                unequal[subset] = str(error)
        client.close()
        return unequal

    return ask


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of certificates, made by openssl (certificates.py says which)."""
    import certificates

    return certificates.make(tmp_path_factory.mktemp("certificates"))


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
