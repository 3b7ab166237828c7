"""The SR of a film's nearest films: what it says, what it never says, and what validators say."""

from __future__ import annotations

import io
import shutil
import subprocess
from dataclasses import replace

import highdicom
import pydicom
import pytest

from clothes import CLOTHES
from cxrclient.archive import Neighbour
from cxrclient.dicom_results import results_of, write

STUDY, SERIES, UID = "1.2.826.0.1.3680043.9", "1.2.826.0.1.3680043.10", "1.2.826.0.1.3680043.11"
CLEAR = Neighbour(
    UID,
    1.25,
    "covid",
    0.75,
    "5ec4e7" * 10,
    "metadata",
    {"study_uid": STUDY, "series_uid": SERIES, "site": "BIMCV", "remarks": "a patient's words"},
)
HASHED = Neighbour(
    "h:" + "ab" * 32, 2.5, "non-covid", None, "5ec4e8" * 10, "predicted",
    {"study_uid": "h:" + "cd" * 32},
)  # fmt: skip


@pytest.fixture
def made(film, predicted, model):
    def make(*neighbours: Neighbour, clothes: str = "plain") -> bytes:
        results = results_of(predicted(), film(clothes), model, neighbours=neighbours)
        return results.files()["neighbours"]

    return make


def items(group: pydicom.Dataset) -> dict[str, object]:
    """Name of each content item of a group → what it says."""
    found = {}
    for item in group.ContentSequence:
        said = item.get("TextValue") or item.get("UID")
        if item.ValueType == "NUM":
            said = float(item.MeasuredValueSequence[0].NumericValue)
        found[item.ConceptNameCodeSequence[0].CodeValue] = said
    return found


def groups(data: bytes) -> list[pydicom.Dataset]:
    report = highdicom.sr.srread(io.BytesIO(data))
    return [group[0] for group in report.content.get_image_measurement_groups()]


def test_each_neighbour_is_a_group_with_what_the_archive_knows_of_it(made, film):
    data = made(CLEAR, HASHED)

    near, far = map(items, groups(data))
    assert near["DISTANCE"] == 1.25
    assert near["122157"] == 75.0  # probability, in per cent
    assert (near["LABEL"], near["LABEL_SOURCE"], near["SITE"]) == ("covid", "metadata", "BIMCV")
    assert (near["ARCHIVE_ID"], near["ARCHIVE_STUDY"], near["ARCHIVE_SERIES"]) == (
        UID,
        STUDY,
        SERIES,
    )
    assert "research use" in str(near["121106"]).lower()
    assert far["ARCHIVE_ID"] == HASHED.id
    assert "122157" not in far
    header = pydicom.dcmread(io.BytesIO(data))
    assert header.StudyInstanceUID == pydicom.dcmread(io.BytesIO(film())).StudyInstanceUID
    assert (header.Modality, header.VerificationFlag) == ("SR", "UNVERIFIED")


def test_only_clear_uids_are_references(made):
    near, far = groups(made(CLEAR, HASHED))

    assert {item.ValueType for item in near.ContentSequence} >= {"UIDREF"}
    kinds = {
        item.ConceptNameCodeSequence[0].CodeValue: item.ValueType for item in far.ContentSequence
    }
    assert kinds["ARCHIVE_ID"] == kinds["ARCHIVE_STUDY"] == "TEXT"


def test_no_patient_of_the_archive_is_in_it_in_any_form(made):
    data = made(CLEAR, HASHED)

    for said in (b"5ec4e7", b"5ec4e8", b"a patient's words"):
        assert said not in data


def test_other_neighbours_make_another_object_and_leave_the_others_alone(film, predicted, model):
    def uids(*neighbours: Neighbour) -> dict[str, str]:
        made = results_of(predicted(), film(), model, neighbours=neighbours)
        return {kind: str(each.SOPInstanceUID) for kind, each in made.datasets.items()}

    one, same, other = uids(CLEAR), uids(CLEAR), uids(replace(CLEAR, distance=1.26))
    assert one == same
    assert one.pop("neighbours") != other.pop("neighbours")
    assert one == other == uids()


@pytest.mark.parametrize("clothes", CLOTHES)
def test_a_validator_finds_no_error_but_the_films_own(clothes, film, made, errors_of):
    assert set(errors_of(made(CLEAR, HASHED, clothes=clothes))) <= set(errors_of(film(clothes)))


def test_dsrdump_reads_it_without_a_warning(made, tmp_path):
    if shutil.which("dsrdump") is None:
        pytest.skip("no dsrdump: apt-get install dcmtk (the Debian package)")
    (tmp_path / "near.dcm").write_bytes(made(CLEAR, HASHED))

    told = subprocess.run(["dsrdump", tmp_path / "near.dcm"], capture_output=True, text=True)

    assert told.returncode == 0
    assert told.stderr == ""
    assert "Similar film of an archive" in told.stdout


def test_that_of_an_earlier_run_is_taken_away_where_there_is_none_now(
    film, predicted, model, tmp_path
):
    first = write(predicted(), film(), model, tmp_path, neighbours=[CLEAR])
    assert first["neighbours"].is_file()

    assert "neighbours" not in write(predicted(), film(), model, tmp_path)
    assert not first["neighbours"].exists()
