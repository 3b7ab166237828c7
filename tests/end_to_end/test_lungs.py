"""The shipped lung network finds the lungs of people that it never saw."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrclient import CxrClient, Prediction
from cxrclient.pages.render import lung_mask
from cxrexport.datasets import read_tb_lungs

FILMS = Path(__file__).parents[3] / "shared" / "data" / "tb-lungs"


@pytest.mark.skipif(not FILMS.is_dir(), reason="needs ../shared/data/tb-lungs beside the checkout")
def test_mean_dice_of_the_patients_kept_out_is_at_least_095(triton_server):
    rows = [row for row in read_tb_lungs(FILMS, seed=0) if row.split == "test"]
    scores = []
    with CxrClient(triton_server.grpc_address, timeout_s=300) as cxr:
        results = cxr.predict_many([row.image for row in rows], maps=True)
        for row, result in zip(rows, results, strict=True):
            assert isinstance(result, Prediction), result
            ours = lung_mask(result.lungs, result.geometry, result.lungs.shape[0])
            truth = cv2.imread(str(row.mask), cv2.IMREAD_GRAYSCALE) > 0
            assert ours.shape == truth.shape
            scores.append(2 * (ours & truth).sum() / (ours.sum() + truth.sum()))
    assert len(scores) == 84
    assert np.mean(scores) >= 0.95
