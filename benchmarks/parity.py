"""Triton against the same graphs in this process, and OpenVINO's Grad-CAM against autograd.

    python benchmarks/parity.py [--films 20] [--manifest CSV] [--run runs/NAME] [--server HOST:PORT]

Triton's answers come over gRPC, from the client's bytes; in this process the film is preprocessed
and each graph run by OpenVINO in fp32. Grad-CAM needs the run that the graphs were built from.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import openvino
import torch
import typer
from rich.console import Console
from rich.table import Table
from serving import server_at

from cxrclient import CxrClient
from cxrexport.manifest import read_manifest
from cxrexport.networks import BACKBONES
from cxrexport.onnx import round_weights
from cxrexport.phantom import write_phantoms
from cxrexport.preprocessing import PreprocessingSpec, preprocess
from cxrexport.repository import GRAPHS, RepositorySpec, read_repository
from cxrexport.training.run import Run


class InProcess:
    """The ensemble without a server: preprocessing, then each graph on OpenVINO."""

    def __init__(self, repository: Path, spec: PreprocessingSpec) -> None:
        core, exact = openvino.Core(), {"INFERENCE_PRECISION_HINT": "f32"}
        self.spec = spec
        self.graphs = {
            name: core.compile_model(repository / name / "1" / "model.onnx", "CPU", exact)
            for name in GRAPHS
        }

    def run(self, name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run one graph; arrays by output name."""
        results = self.graphs[name](inputs)
        return {port.any_name: value.copy() for port, value in results.items()}

    def __call__(self, encoded: bytes) -> dict[str, np.ndarray]:
        """Predict one film: every output of the ensemble, and `CAM_*` of the backbones."""
        film = {"CXR": preprocess(encoded, self.spec).image[None]}
        film |= self.run("segment", film)
        out = {name: self.run(name, film) for name in BACKBONES}
        joined = {
            f"{key}_{name.upper()}": out[name][key] for key in ("LOGITS", "CAM") for name in out
        }
        averaged = self.run("average", joined)
        return {**film, **joined, **averaged, "EMBEDDING": out["resnet50"]["EMBEDDING"]}


def autograd_cam(module: torch.nn.Module, film: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """Grad-CAM of the positive logit by autograd, [h, w]."""
    stacked = torch.cat(
        [torch.from_numpy(film), torch.from_numpy(lungs), torch.zeros(film.shape)], dim=1
    )
    maps = module.extract((stacked - module.mean) / module.std).detach().requires_grad_()
    module.head(maps).logits[:, 1].sum().backward()
    alpha = maps.grad.mean(dim=(2, 3), keepdim=True)
    return torch.relu((alpha * maps).sum(dim=1)).detach().numpy()


def main(
    films: Annotated[int, typer.Option(min=1)] = 20,
    manifest: Annotated[Path | None, typer.Option(help="Films; drawn ones by default.")] = None,
    run: Annotated[Path | None, typer.Option(help="The graphs' run, for Grad-CAM.")] = None,
    server: Annotated[str | None, typer.Option(help="gRPC HOST:PORT.")] = None,
    repository: Annotated[Path, typer.Option()] = Path("model_repository"),
) -> None:
    """Print both tables."""
    spec: RepositorySpec = read_repository(repository)[0]
    chain = InProcess(repository, spec.preprocessing)
    with tempfile.TemporaryDirectory() as folder:
        rows = read_manifest(manifest or write_phantoms(films, Path(folder), seed=0))
        chosen = [rows[i] for i in np.linspace(0, len(rows) - 1, films).astype(int)]
        encoded = [row.image.read_bytes() for row in chosen]
    ours = [chain(film) for film in encoded]
    with server_at(server, repository) as address, CxrClient(address) as cxr:
        served = [cxr.predict(film, maps=True) for film in encoded]

    console = Console(width=100)
    table = Table("Triton ↔ in process", "largest difference", title=f"{films} films")
    pairs = list(zip(served, ours, strict=True))
    worst = {
        "probability": max(abs(s.probability - o["PROBABILITY"].item()) for s, o in pairs),
        "embedding": max(np.abs(s.embedding - o["EMBEDDING"][0]).max() for s, o in pairs),
        "lungs": max(np.abs(s.lungs - o["LUNGS"][0, 0]).max() for s, o in pairs),
        "heatmap": max(np.abs(s.heatmap - o["HEATMAP"][0]).max() for s, o in pairs),
    }
    for name, value in worst.items():
        table.add_row(name, f"{value:.1e}")
    console.print(table)
    if run is None:
        return
    opened = Run.open(run)
    table = Table("OpenVINO CAM ↔ autograd", "largest difference / maximum", "films with a map")
    for name in BACKBONES:
        module = round_weights(opened.load(name))
        shares = []
        for out in ours:
            expected = autograd_cam(module, out["CXR"], out["LUNGS"])
            if expected.max() > 0:
                difference = np.abs(out[f"CAM_{name.upper()}"] - expected).max()
                shares.append(float(difference / expected.max()))
        table.add_row(name, f"{max(shares, default=0.0):.1e}", str(len(shares)))
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
