"""The objects in a real PACS: stored as a modality stores, found in the film's study."""

from __future__ import annotations

from cxrclient.archive import Neighbour
from cxrclient.dicom_results import results_of
from orthanc import running_pacs


def test_a_pacs_takes_every_object_and_finds_it_in_the_films_study(
    film, predicted, model, tmp_path
):
    worn = film()
    near = [Neighbour("1.2.826.0.1.3680043.9", 0.5, "covid", None, None)]
    made = results_of(predicted(), worn, model, gsps=True, neighbours=near)
    files = {"film": worn, **made.files()}
    for kind, data in files.items():
        (tmp_path / f"{kind}.dcm").write_bytes(data)

    with running_pacs(tmp_path / "pacs") as pacs:
        pacs.store(*(tmp_path / f"{kind}.dcm" for kind in files))
        pacs.store(*(tmp_path / f"{kind}.dcm" for kind in files))  # again: no second one
        studies = pacs.get("studies?expand")
        series = pacs.get("series?expand")
        found = pacs.get(
            f"dicom-web/studies/{studies[0]['MainDicomTags']['StudyInstanceUID']}/instances"
        )

    assert len(studies) == 1
    modalities = {each["MainDicomTags"]["Modality"] for each in series}
    assert modalities - {"CR", "DX"} == {"OT", "PR", "SEG", "SR"}
    assert len(found) == 6
