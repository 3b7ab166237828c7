"""One film in every lossless encoding, through the real server: one probability."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cxrclient.wire.client import CxrClient


def test_a_film_has_one_probability_in_every_lossless_encoding(
    triton_server: Any,
    write_dicom: Callable[..., Path],
    recompress: Callable[[bytes, str], bytes],
    lossless_syntaxes: dict[str, str],
    tmp_path: Path,
) -> None:
    window = {"WindowCenter": 1600, "WindowWidth": 2800}
    plain = write_dicom(tmp_path / "plain.dcm", **window).read_bytes()
    films = {"explicit": plain, "without preamble": plain[132:]}
    films |= {name: recompress(plain, syntax) for name, syntax in lossless_syntaxes.items()}
    with CxrClient(triton_server.grpc_address, jobs=2, gate=False) as cxr:
        predictions = list(cxr.predict_many(films.values()))
    found = {name: p.probability for name, p in zip(films, predictions, strict=True)}
    assert len(found) == 12
    assert max(found.values()) - min(found.values()) < 1e-4, found
    embeddings = np.stack([prediction.embedding for prediction in predictions])
    assert np.ptp(embeddings, axis=0).max() < 1e-3
