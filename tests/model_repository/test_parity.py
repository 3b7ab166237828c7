"""The served ensemble against the same graphs, run one after the other in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrclient import CxrClient
from cxrexport.ensemble import Ensemble, OpenvinoGraphs
from cxrexport.manifest import read_manifest
from cxrexport.phantom import write_phantoms
from cxrexport.preprocessing import preprocess
from cxrexport.repository import graph_files, read_repository

REAL_FILMS = ("RG1_UNCR.dcm", "RG1_J2KI.dcm")
DRAWN_FILMS = 18
LARGEST_DIFFERENCE = 1e-5


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, real_film: Callable[[str], Path]) -> list[Path]:
    manifest = write_phantoms(DRAWN_FILMS, tmp_path_factory.mktemp("drawn"), seed=3, size_px=384)
    return [row.image for row in read_manifest(manifest)] + [real_film(name) for name in REAL_FILMS]


def test_triton_answers_as_the_same_graphs_do_in_this_process(
    films: list[Path], triton_server: Any
) -> None:
    spec, _, _ = read_repository(triton_server.repository)
    here = Ensemble(OpenvinoGraphs(graph_files(triton_server.repository, spec)), spec.members)
    with CxrClient(triton_server.grpc_address) as cxr:
        served = [cxr.predict(film) for film in films]
    # Read as the client sends it and as it lies on the disk: what is left out changes nothing.
    images = (preprocess(film.read_bytes(), spec.preprocessing).image for film in films)
    ours = [here.judge(image[None]) for image in images]
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
