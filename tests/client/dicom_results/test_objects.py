"""The objects of a film: its own identity, nothing a validator objects to, the same bytes again."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from clothes import CLOTHES
from cxrclient.dicom_results import results_of, write
from cxrclient.errors import FilmError, UsageError
from cxrclient.wire.ensemble import Finding, ModelInfo

IDENTITY = (
    *("SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate"),
    *("PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
    "ReferringPhysicianName",
)
REFUSED = FilmError("NO_LUNGS", "No two lungs are found on it.", status="rejected")


def header(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)


def raw(data: bytes, name: str) -> bytes | None:
    """An element's bytes, as they are in the file, without the padding."""
    element = header(data).get_item(name)
    if element is None:
        return None
    value = element.value if isinstance(element.value, bytes) else b""
    return value.rstrip(b" \\0")


def said(group) -> str:
    """The code of a group's own evaluation, which stands behind those of its algorithm."""
    return group.get_qualitative_evaluations()[-1].value.value


@pytest.fixture(scope="module")
def made(film, predicted, model) -> Callable[..., dict[str, bytes]]:
    def make(clothes: str = "plain", **changes: object) -> dict[str, bytes]:
        return results_of(predicted(**changes), film(clothes), model, gsps=True).files()

    return make


@pytest.mark.parametrize("clothes", CLOTHES)
def test_the_films_own_identity_is_in_every_object_byte_for_byte(clothes, film, made):
    worn = film(clothes)

    for kind, data in made(clothes).items():
        for name in IDENTITY:
            assert (raw(data, name) or b"") == (raw(worn, name) or b""), (kind, name)


@pytest.mark.parametrize("clothes", CLOTHES)
def test_a_validator_finds_no_error_but_the_films_own(clothes, film, made, errors_of):
    of_the_film = set(errors_of(film(clothes)))

    for kind, data in made(clothes).items():
        assert set(errors_of(data)) <= of_the_film, kind


@pytest.mark.parametrize("clothes", CLOTHES)
def test_the_same_film_and_model_give_the_same_bytes(clothes, made):
    assert made(clothes) == made(clothes)


def test_other_pixels_another_model_and_other_words_make_other_objects(film, predicted, model):
    def uids(film_bytes: bytes, prediction=None, ensemble=model) -> set[str]:
        made = results_of(prediction or predicted(), film_bytes, ensemble, gsps=True)
        return {str(each.SOPInstanceUID) for each in made.datasets.values()}

    seen = uids(film())
    changed = pydicom.dcmread(io.BytesIO(film()))
    pixels = changed.pixel_array.copy()
    pixels[50, 50] += 1
    changed.PixelData = pixels.tobytes()
    buffer = io.BytesIO()
    changed.save_as(buffer)
    other_model = replace(model, model=replace(model.model, digest="c" * 64))

    assert len(seen) == 4
    assert not seen & uids(buffer.getvalue())
    assert not seen & uids(film(), ensemble=other_model)
    assert len(seen & uids(film(), ensemble=replace(model, threshold=0.4))) == 2  # SEG and outline
    assert len(seen & uids(film(), predicted(probability=0.81))) == 2


def test_objects_of_one_kind_are_a_series_of_their_own_in_the_films_study(film, made):
    mine = {kind: header(data) for kind, data in made().items()}
    of_film = header(film())

    assert {each.StudyInstanceUID for each in mine.values()} == {of_film.StudyInstanceUID}
    series = {each.SeriesInstanceUID for each in mine.values()}
    assert len(series) == 4
    assert of_film.SeriesInstanceUID not in series
    for each in mine.values():
        assert each.Manufacturer == "cxr-triton"
        assert each.SoftwareVersions
        assert each.ContributingEquipmentSequence[0].DeviceUID.startswith("2.25.")


def test_highdicom_reads_what_we_wrote(made):
    mine = made()

    report = highdicom.sr.srread(io.BytesIO(mine["sr"]))
    groups = report.content.get_image_measurement_groups()
    percents = [float(each.value) for each in groups[0].get_measurements()]
    assert percents == [81.25, 75.0, 87.5]
    assert groups[0].finding_type.value == "840539006"
    assert said(groups[0]) == "121053"
    segments = highdicom.seg.segread(io.BytesIO(mine["seg"]))
    assert [each.SegmentLabel for each in segments.SegmentSequence] == [
        "Right lung",
        "Left lung",
    ]


def test_the_segments_lie_where_the_lungs_are_on_the_film(made, film, predicted):
    from cxrclient.pages import film_mask

    segmentation = pydicom.dcmread(io.BytesIO(made()["seg"]))
    right, left = segmentation.pixel_array.astype(bool)

    assert right.shape == (header(film()).Rows, header(film()).Columns)
    assert (right | left).tolist() == film_mask(predicted()).tolist()
    assert not (right & left).any()
    assert np.argwhere(right)[:, 1].max() < np.argwhere(left)[:, 1].min()  # right is left of it


@pytest.mark.parametrize(
    ("orientation", "labels"),
    [
        (["R", "F"], ["Right lung", "Left lung"]),
        (None, ["Lungs"]),
        (["A", "F"], ["Lungs"]),
    ],
)
def test_sides_are_told_apart_only_where_the_film_says_them(
    orientation, labels, film, predicted, model
):
    worn = film("plain", PatientOrientation=orientation)
    made = results_of(predicted(), worn, model).datasets["seg"]

    assert [each.SegmentLabel for each in made.SegmentSequence] == labels
    if orientation == ["R", "F"]:  # the film is turned over
        right, left = pydicom.dcmread(
            io.BytesIO(results_of(predicted(), worn, model).files()["seg"])
        ).pixel_array
        assert np.argwhere(right)[:, 1].min() > np.argwhere(left)[:, 1].max()


def test_lungs_that_are_one_part_are_one_segment(film, predicted, model):
    whole = np.zeros((64, 64), np.float32)
    whole[20:40, 10:54] = 1

    made = results_of(predicted(lungs=whole), film(), model).datasets["seg"]

    assert [each.SegmentLabel for each in made.SegmentSequence] == ["Lungs"]


def test_a_film_without_lungs_has_no_segmentation(film, predicted, model):
    made = results_of(predicted(lungs=np.zeros((64, 64), np.float32)), film(), model, gsps=True)

    assert set(made.datasets) == {"sr", "sc"}


def test_the_picture_is_derived_from_the_film_and_large_enough_to_read(made, film):
    picture = pydicom.dcmread(io.BytesIO(made()["sc"]))

    assert list(picture.ImageType) == ["DERIVED", "SECONDARY"]
    assert picture.SourceImageSequence[0].ReferencedSOPInstanceUID == header(film()).SOPInstanceUID
    assert min(picture.Rows, picture.Columns) >= 1024
    pixels = picture.pixel_array
    assert (np.ptp(pixels.astype(int), axis=2) > 60).sum() > 500  # outline and heat are in colour


def test_a_film_that_was_turned_away_has_an_sr_that_says_why(film, model, errors_of):
    made = results_of(REFUSED, film(), model).files()

    assert set(made) == {"sr"}
    assert errors_of(made["sr"]) == []
    report = highdicom.sr.srread(io.BytesIO(made["sr"]))
    group = report.content.get_image_measurement_groups()[0]
    assert said(group) == "NO_LUNGS"
    assert not group.get_measurements()
    assert b"No two lungs are found on it." in made["sr"]
    assert b"Research use only" in made["sr"]


def test_a_finding_without_a_code_has_one_of_our_own_scheme(film, predicted, model, errors_of):
    made = results_of(predicted(), film(), replace(model, finding=None)).files()["sr"]

    assert errors_of(made) == []
    finding = highdicom.sr.srread(io.BytesIO(made)).content.get_image_measurement_groups()[0]
    assert (finding.finding_type.scheme_designator, finding.finding_type.value) == (
        "99CXRTRITON",
        "COVID",
    )


def test_dcmtk_reads_the_sr_without_a_warning(made, tmp_path):
    if shutil.which("dsrdump") is None:
        pytest.skip("no dsrdump: apt-get install dcmtk (the Debian package)")
    path = tmp_path / "sr.dcm"
    path.write_bytes(made()["sr"])

    told = subprocess.run(["dsrdump", str(path)], capture_output=True, text=True)

    assert told.returncode == 0
    assert "81.25" in told.stdout
    assert told.stderr == ""


@pytest.mark.parametrize(
    "changes",
    [{"StudyInstanceUID": ""}, {"StudyInstanceUID": "one.two"}, {"SeriesInstanceUID": None}],
)
def test_a_film_that_does_not_say_its_study_is_refused_with_the_mend(
    changes, film, predicted, model
):
    with pytest.raises(FilmError, match="UIDs") as refused:
        results_of(predicted(), film("plain", **changes), model)

    assert refused.value.code == "NO_STUDY"


def test_a_spacing_of_nothing_is_no_spacing(film, predicted, model, errors_of):
    worn = film("plain", ImagerPixelSpacing=[0, 0], PixelSpacing=[0, 0])

    for data in results_of(predicted(), worn, model).files().values():
        assert not [line for line in errors_of(data) if "Spacing" in line]


def test_a_png_has_no_study(predicted, model):
    with pytest.raises(FilmError, match="DICOM") as refused:
        results_of(predicted(), b"\x89PNG\r\n\x1a\n" + bytes(100), model)

    assert refused.value.code == "NO_STUDY"


def test_a_prediction_without_maps_says_how_to_get_them(film, predicted, model):
    with pytest.raises(UsageError, match="maps=True"):
        results_of(predicted(lungs=None), film(), model)


def test_objects_are_written_beside_each_other_by_the_films_uid(film, predicted, model, tmp_path):
    paths = write(predicted(), film(), model, tmp_path / "new")

    uid = header(film()).SOPInstanceUID
    assert {kind: path.name for kind, path in paths.items()} == {
        kind: f"{uid}.{kind}.dcm" for kind in ("sr", "seg", "sc")
    }
    assert all(isinstance(path, Path) and path.is_file() for path in paths.values())


ODD = {
    "one frame of a multi-frame class": {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.3",
        "NumberOfFrames": "1",
    },
    "tomosynthesis": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.3"},
    "a class that nobody knows": {"SOPClassUID": "1.3.6.1.4.1.99.1"},
    "a day that is none": {"ContentDate": None, "AcquisitionDate": None, "StudyDate": "20230231"},
    "no window": {"WindowWidth": 0, "WindowCenter": 5},
    "a long spacing": {"PixelSpacing": None, "ImagerPixelSpacing": ["0.14300000667572", "0.143"]},
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("refused", [False, True])
def test_an_odd_film_has_its_objects_all_the_same(odd, refused, film, predicted, model, errors_of):
    worn = film("plain", **ODD[odd])
    made = results_of(REFUSED if refused else predicted(), worn, model, gsps=True).files()

    assert set(made) >= ({"sr"} if refused else {"sr", "seg", "sc"})
    own = header(worn)
    for kind, data in made.items():
        assert f"{own.SOPClassUID}".encode() in data, kind
        assert set(errors_of(data)) <= set(errors_of(worn)), kind


def test_a_film_with_look_up_tables_has_no_outline_that_would_show_it_otherwise(
    film, predicted, model
):
    table = pydicom.Dataset()
    table.LUTDescriptor = [4, 0, 16]
    table.LUTData = np.array([3, 2, 1, 0], "<u2").tobytes()

    made = results_of(predicted(), film("plain", VOILUTSequence=[table]), model, gsps=True)

    assert set(made.datasets) == {"sr", "seg", "sc"}


@pytest.mark.parametrize(
    "changes",
    [
        {"finding": None},
        {"finding": Finding("SCT", "882784691000119100", "COVID-19 pneumonia")},
        {"finding": Finding("SCT", "1", "Pneumonie à virus 肺炎, \u00e9tendue")},
        {"labels": ("肺", "肺炎")},
        {"labels": ("a\\b", "c\\d"), "finding": None},
        {"model": ModelInfo("modèle " + 200 * "m", "d" * 64)},
        {"notice": "Nur für Forschung\\ 肺炎 " + 300 * "sehr "},
    ],
)
def test_words_of_any_letters_and_length_make_good_objects(
    changes, film, predicted, model, errors_of
):
    other = replace(model, **changes)
    label = other.labels[1]

    made = results_of(predicted(label=label), film(), other, gsps=True).files()

    for kind, data in made.items():
        assert errors_of(data) == [], kind
    first = results_of(predicted(label=label), film(), model, gsps=True).files()
    uids = [{header(data).SOPInstanceUID for data in each.values()} for each in (made, first)]
    assert len(uids[0] - uids[1]) >= 1  # no other bytes under the same UID
    for kind, data in made.items():
        same = header(data).SOPInstanceUID == header(first[kind]).SOPInstanceUID
        assert same == (data == first[kind])


def test_the_heat_of_the_picture_is_that_of_the_film(film, predicted):
    from cxrclient.dicom_results.picture import _heat
    from cxrclient.pages import film_heatmap

    crop = np.array([160, 130, 1.5, 0, 20, 0, 1.5, 30], np.float32)  # inside the film
    cells = np.random.default_rng(3).random((7, 7)).astype(np.float32)
    prediction = predicted(geometry=crop, heatmap=cells)

    drawn = np.asarray(_heat(prediction, 1.0, (130, 160))) / 255

    assert np.abs(drawn - film_heatmap(prediction)).max() < 0.02


def test_what_an_earlier_run_wrote_and_this_one_does_not_is_gone(film, predicted, model, tmp_path):
    write(predicted(), film(), model, tmp_path, gsps=True)

    write(REFUSED, film(), model, tmp_path)

    assert [path.name.split(".")[-2] for path in tmp_path.iterdir()] == ["sr"]


def test_nothing_of_a_header_is_said_or_logged(film, predicted, model, caplog, recwarn):
    caplog.set_level(0)
    worn = film("plain", PatientName="SECRET^NAME", PatientID="SECRETID")

    for clothes in ("korean", "bad values", "set that is named for nothing"):
        results_of(predicted(), film(clothes), model, gsps=True).files()
    results_of(predicted(), worn, model, gsps=True).files()

    said = caplog.text + "".join(str(each.message) for each in recwarn)
    assert "SECRET" not in said
    assert "ISO_IR 6" not in said
