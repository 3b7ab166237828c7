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
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw

from cxrclient import CxrClient, Prediction
from cxrclient.dicom_results import results_of
from cxrexport.phantom.collection import write_phantoms
from orthanc import running_pacs

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

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
    """The drawn film that is least square of those in MONOCHROME1, and what the server says."""
    folder = tmp_path_factory.mktemp("films")
    write_phantoms(12, folder, seed=1)
    with CxrClient(triton_server.grpc_address) as client:
        for path in sorted((folder / "images").glob("*.dcm"), key=_squareness):
            if pydicom.dcmread(path).PhotometricInterpretation == "MONOCHROME1":
                [result] = client.predict_many([path], maps=True)
                if isinstance(result, Prediction):
                    return path.read_bytes(), result, client.model
    raise AssertionError("no such film among the phantoms")


def _squareness(path: Path) -> float:
    header = pydicom.dcmread(path, stop_before_pixels=True)
    return min(header.Rows, header.Columns) / max(header.Rows, header.Columns)


def _filled(outline: Locator, size: tuple[int, int], offset: dict[str, float]) -> np.ndarray:
    """What a line of the SVG over the film encloses: bool, as large as the screenshots."""
    numbers = np.array((outline.get_attribute("points") or "").replace(",", " ").split(), float)
    mask = Image.new("1", size)
    points = numbers.reshape(-1, 2) + np.array([offset["x"], offset["y"]])
    ImageDraw.Draw(mask).polygon([tuple(point) for point in points], fill=1)
    return np.asarray(mask)[100:, 300:]


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_ohif_shows_the_picture_the_lungs_and_the_findings_on_the_film(
    viewer, inverse_film, tmp_path
):
    from playwright.sync_api import sync_playwright

    film, prediction, model = inverse_film
    for kind, data in {"film": film, **results_of(prediction, film, model).files()}.items():
        (tmp_path / f"{kind}.dcm").write_bytes(data)
    kept = Path(os.environ.get("CXR_SCREENSHOTS", tmp_path))

    width, height = 1400, 900

    def seen(page: Page, name: str) -> np.ndarray:
        shot = Image.open(BytesIO(page.screenshot())).convert("RGB")
        shot.save(kept / f"ohif-{name}.jpg", quality=85)
        return np.asarray(shot).astype(int)[100:, 300:]  # without the list of series

    def shown(page: Page, series: str, name: str, coloured_px: int) -> np.ndarray:
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
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(60_000)
            page.goto(f"{address}/viewer?StudyInstanceUIDs={uid}")
            page.get_by_text("cxr-triton: lungs").first.wait_for()
            # The tour for new users lies over everything.
            page.add_style_tag(content="[class*=shepherd] {display: none !important}")
            page.get_by_text("Confirm and Hide").first.click()
            page.reload()  # at times the film is black once the notice is hidden
            page.add_style_tag(content="[class*=shepherd] {display: none !important}")
            shown(page, "S:1", "film", 0)
            page.get_by_text("cxr-triton: findings").first.dblclick()
            lines = page.locator("svg.svg-layer polyline")
            for smaller in (1, 0) * 60:
                # OHIF draws the lines with its next drawing, whatever the cause of that.
                page.set_viewport_size({"width": width - smaller, "height": height})
                page.wait_for_timeout(500)
                if lines.count() == 3 and not smaller:
                    break
            seen(page, "findings")
            offset = page.locator("svg.svg-layer").first.bounding_box()
            drawn = [
                (each.get_attribute("stroke"), _filled(each, (width, height), offset))
                for each in lines.all()
            ]
            words = page.locator("svg.svg-layer tspan").all_text_contents()
            shown(page, "cxr-triton: picture", "picture", 4000)
            lungs = shown(page, "cxr-triton: lungs", "lungs", 20_000)
            browser.close()

    turquoise = lungs[..., 2] - lungs[..., 0] > 40  # the right lung, which is left of the other
    orange = lungs[..., 0] - lungs[..., 2] > 40
    share = pydicom.dcmread(tmp_path / "seg.dcm").pixel_array.max(axis=0).mean()
    assert np.argwhere(turquoise)[:, 1].mean() < np.argwhere(orange)[:, 1].mean()
    assert turquoise.sum() + orange.sum() > 0.2 * share * lungs.shape[0] ** 2
    [judged] = [mask for colour, mask in drawn if colour == "rgb(0, 255, 0)"]
    outlines = [mask for colour, mask in drawn if colour != "rgb(0, 255, 0)"]
    assert len(outlines) == 2
    assert all((judged & outline).sum() == outline.sum() for outline in outlines)
    for lung in (turquoise, orange):
        assert max(_overlap(lung, outline) for outline in outlines) > 0.9
    assert f"Probability: {100 * prediction.probability:.2f} %" in words
    assert {"Right lung: ", "Left lung: ", f"{model.notice}: "} <= set(words)
