"""A study of made-up scores, its figures, and its report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cxrexport.manifest import FilmRow
from cxrexport.report.figures import confusion_matrix
from cxrexport.report.page import write_report
from cxrexport.report.plates import Plate
from made_up_report import LABELS, Page, evidence_of, study_of


@pytest.fixture(scope="module")
def films():
    return [
        FilmRow(
            image=Path(f"/secret/path/{i}.png"),
            patient_id=f"secret-{i // 2}",
            label=LABELS[i // 4 % 2],
            source="Hospital <i>A</i>" if i % 3 else "Hospital B",
            sex="F" if i % 5 else None,
            row=i + 2,
        )
        for i in range(72)
    ]


@pytest.fixture(scope="module")
def study(films):
    return study_of(evidence_of(films))


@pytest.fixture(scope="module")
def plates():
    truth = np.array([True, False])
    return (
        Plate("matrix", "classification", "A matrix", "C.", confusion_matrix(truth, truth, LABELS)),
        Plate("days", "classification", "Days", "C.", None, "no test film has a day"),
    )


@pytest.fixture(scope="module")
def report(study, plates, tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("report"), study, plates)


@pytest.fixture(scope="module")
def page(report):
    return Page(report.read_text(encoding="utf-8"))
