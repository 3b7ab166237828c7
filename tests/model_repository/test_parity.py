"""The served ensemble against the same graphs, run one after the other in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest

from cxrclient import CxrClient
from cxrexport.manifest import read_manifest
from cxrexport.phantom import write_phantoms
from cxrexport.preprocessing import PreprocessingSpec, preprocess
from cxrexport.repository import GRAPHS, MEMBERS, read_repository

REAL_FILMS = ("RG1_UNCR.dcm", "RG1_J2KI.dcm")
DRAWN_FILMS = 18
LARGEST_DIFFERENCE = 1e-5


class InProcess:
    """Preprocessing, and each graph in OpenVINO in single precision: what Triton should answer."""

    def __init__(self, repository: Path, spec: PreprocessingSpec) -> None:
        core = openvino.Core()
        self._spec = spec
        self._graphs = {
            graph: core.compile_model(
                repository / graph / "1" / "model.onnx",
                "CPU",
                {"INFERENCE_PRECISION_HINT": "f32"},
            )
            for graph in GRAPHS
        }

    def _run(self, graph: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        answer = self._graphs[graph](inputs)
        return {port.any_name: array.copy() for port, array in answer.items()}

    def __call__(self, encoded: bytes) -> dict[str, np.ndarray]:
        """PROBABILITY [1, 1] and MEMBERS [1, 4] of one film."""
        film = {"CXR": preprocess(encoded, self._spec).image[None]}
        film |= self._run("segment", film)
        votes: dict[str, np.ndarray] = {}
        for member in MEMBERS:
            answer = self._run(member, film)
            votes |= {f"{name}_{member.upper()}": answer[name] for name in ("LOGITS", "CAM")}
        return self._run("average", votes)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, real_film: Callable[[str], Path]) -> list[Path]:
    manifest = write_phantoms(DRAWN_FILMS, tmp_path_factory.mktemp("drawn"), seed=3, size_px=384)
    return [row.image for row in read_manifest(manifest)] + [real_film(name) for name in REAL_FILMS]


def test_triton_answers_as_the_same_graphs_do_in_this_process(
    films: list[Path], triton_server: Any
) -> None:
    spec, _, _ = read_repository(triton_server.repository)
    here = InProcess(triton_server.repository, spec.preprocessing)
    with CxrClient(triton_server.grpc_address) as cxr:
        served = [cxr.predict(film) for film in films]
    # Read as the client sends it and as it lies on the disk: what is left out changes nothing.
    ours = [here(film.read_bytes()) for film in films]
    probabilities = np.array([film["PROBABILITY"].item() for film in ours])
    assert np.ptp(probabilities) > 100 * LARGEST_DIFFERENCE  # films that differ, or it says little
    np.testing.assert_allclose(
        [film.probability for film in served], probabilities, rtol=0, atol=LARGEST_DIFFERENCE
    )
    np.testing.assert_allclose(
        [list(film.members.values()) for film in served],
        np.concatenate([film["MEMBERS"] for film in ours]),
        rtol=0,
        atol=LARGEST_DIFFERENCE,
    )
