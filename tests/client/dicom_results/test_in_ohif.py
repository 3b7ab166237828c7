"""The objects in OHIF, a stock viewer, on a real PACS: what people see is what we drew.

`CXR_SCREENSHOTS=FOLDER` keeps the screenshots; those in docs/ were made so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from cxrclient import CxrClient, Prediction
from cxrclient.dicom_results import results_of
from cxrexport.phantom.collection import write_phantoms
from orthanc import running_pacs

pytestmark = pytest.mark.slow
OHIF = "@ohif/app@3.12.10"
SOURCE = """window.config = {routerBasename: '/', extensions: [], modes: [], showStudyList: true,
 defaultDataSourceName: 'pacs', dataSources: [{sourceName: 'pacs',
 namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', configuration: {name: 'pacs',
 friendlyName: 'pacs', qidoRoot: '/dicom-web', wadoRoot: '/dicom-web', wadoUriRoot: '/wado',
 imageRendering: 'wadors', thumbnailRendering: 'wadors', omitQuotationForMultipartRequest: true,
 bulkDataURI: {enabled: true}}}]};"""


class _Site(SimpleHTTPRequestHandler):
    """OHIF's files, and the PACS's DICOMweb below the same address."""

    def __init__(self, *request, pacs_port: int, folder: Path) -> None:
        self.pacs_port, self.folder = pacs_port, folder
        super().__init__(*request, directory=str(folder))

    def log_message(self, *_) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/dicom-web"):
            status, kind, body = self._asked_of_the_pacs()
        elif path == "/app-config.js":
            status, kind, body = 200, "text/javascript", SOURCE.encode()
        else:
            file = self.folder / path.lstrip("/")
            file = file if file.is_file() else self.folder / "index.html"
            status, kind, body = 200, self.guess_type(str(file)), file.read_bytes()
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cross-Origin-Embedder-Policy", "require-corp"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _asked_of_the_pacs(self) -> tuple[int, str, bytes]:
        address = f"http://127.0.0.1:{self.pacs_port}"
        accept = {"Accept": self.headers.get("Accept", "*/*")}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(address + self.path, headers=accept), timeout=60
            ) as answer:
                body = answer.read().replace(address.encode(), b"http://" + self._host())
                return answer.status, answer.headers["Content-Type"], body
        except urllib.error.HTTPError as error:
            return error.code, "text/plain", error.read()

    def _host(self) -> bytes:
        return str(self.headers["Host"]).encode()


@pytest.fixture(scope="module")
def viewer(tmp_path_factory) -> Path:
    """OHIF's files, from its npm package."""
    if (npm := shutil.which("npm")) is None:
        pytest.skip("no npm: apt-get install npm")
    folder = tmp_path_factory.mktemp("ohif")
    subprocess.run([npm, "pack", OHIF, "--silent"], cwd=folder, check=True, capture_output=True)
    with tarfile.open(next(folder.glob("*.tgz"))) as package:
        package.extractall(folder, filter="data")
    return folder / "package/dist"


@contextmanager
def served(folder: Path, pacs_port: int) -> Iterator[str]:
    site = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Site, pacs_port=pacs_port, folder=folder))
    threading.Thread(target=site.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{site.server_port}"
    finally:
        site.shutdown()


@pytest.fixture(scope="module")
def inverse_film(triton_server, tmp_path_factory) -> tuple[bytes, Prediction, CxrClient]:
    """A drawn film, not square, MONOCHROME1, with what the real server says of it."""
    folder = tmp_path_factory.mktemp("films")
    write_phantoms(12, folder, seed=1)
    with CxrClient(triton_server.grpc_address) as client:
        for path in sorted((folder / "images").glob("*.dcm")):
            header = pydicom.dcmread(path, stop_before_pixels=True)
            if header.PhotometricInterpretation == "MONOCHROME1" and header.Rows != header.Columns:
                [result] = client.predict_many([path], maps=True)
                if isinstance(result, Prediction):
                    return path.read_bytes(), result, client.model
    raise AssertionError("no such film among the phantoms")


def test_ohif_shows_the_picture_and_the_lungs_on_the_film(viewer, inverse_film, tmp_path):
    from playwright.sync_api import Page, sync_playwright

    film, prediction, model = inverse_film
    for kind, data in {"film": film, **results_of(prediction, film, model).files()}.items():
        (tmp_path / f"{kind}.dcm").write_bytes(data)
    kept = Path(os.environ.get("CXR_SCREENSHOTS", tmp_path))

    def seen(page: Page, name: str) -> np.ndarray:
        shot = Image.open(BytesIO(page.screenshot())).convert("RGB")
        shot.save(kept / f"ohif-{name}.jpg", quality=85)
        return np.asarray(shot).astype(int)[100:, 300:]  # without the list of series

    def shown(page: Page, series: str, name: str, coloured_px: int) -> np.ndarray:
        if series:
            page.get_by_text(series).first.dblclick()
        yes = page.get_by_role("button", name="Yes")
        for _ in range(120):
            page.wait_for_timeout(500)
            if yes.count():
                yes.first.click()  # "load the segmentation?"
            picture = seen(page, name)
            in_colour = (np.ptp(picture, axis=2) > 60).sum()
            if in_colour >= coloured_px and (picture > 60).all(axis=2).mean() > 0.1:
                return picture
        raise AssertionError(f"nothing in colour: {kept / name}")

    with running_pacs(tmp_path / "pacs") as pacs:
        pacs.store(*tmp_path.glob("*.dcm"))
        [study] = pacs.get("studies?expand")
        uid = study["MainDicomTags"]["StudyInstanceUID"]
        with served(viewer, pacs.http_port) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"),
                args=[
                    *("--no-sandbox", "--use-gl=swiftshader", "--enable-unsafe-swiftshader"),
                    "--ignore-gpu-blocklist",
                ],
            )
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            page.set_default_timeout(60_000)
            page.goto(f"{address}/viewer?StudyInstanceUIDs={uid}")
            page.get_by_text("cxr-triton: lungs").first.wait_for()
            # The tour for new users lies over everything.
            page.add_style_tag(content="[class*=shepherd] {display: none !important}")
            page.get_by_text("Confirm and Hide").first.click()
            shown(page, "", "film", 0)
            shown(page, "cxr-triton: picture", "picture", 4000)
            lungs = shown(page, "cxr-triton: lungs", "lungs", 20_000)
            browser.close()

    turquoise = lungs[..., 2] - lungs[..., 0] > 40  # the right lung, which is left of the other
    orange = lungs[..., 0] - lungs[..., 2] > 40
    share = pydicom.dcmread(tmp_path / "seg.dcm").pixel_array.max(axis=0).mean()
    assert np.argwhere(turquoise)[:, 1].mean() < np.argwhere(orange)[:, 1].mean()
    assert turquoise.sum() + orange.sum() > 0.2 * share * lungs.shape[0] ** 2
