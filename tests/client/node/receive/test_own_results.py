"""A PACS that routes whole studies sends our own results back: none is taken for a film."""

from __future__ import annotations

import pytest

from cxrclient.dicom_results import results_of
from cxrclient.node.receive.intake import take_in
from dicom_senders import kept, noted
from predicted_film import model, predicted

__all__ = ["model", "predicted"]  # fixtures


@pytest.mark.parametrize(
    ("kind", "code"), [("sc", "OWN_RESULT"), ("sr", "NOT_A_FILM"), ("seg", "NOT_A_FILM")]
)
def test_no_result_of_ours_is_a_film(spool, film, predicted, model, kind, code):
    file = film()
    results = results_of(predicted(), file, model).files()
    receipt = take_in(spool, results[kind], "PACS")
    assert (receipt.state, receipt.code, receipt.retriable) == ("refused", code, False)
    assert noted(spool) == [(code, receipt.uid)]
    assert kept(spool) == []
    assert take_in(spool, file, "PACS").state == "stored"
