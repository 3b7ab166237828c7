"""One frame in a multi-frame object, and files that lack their head."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from cxrexport.preprocessing import decode_film
from encoded_films import (
    MakeDicom,
    big_endian,
    decoded,
    drawn,
    implicit,
    written,
)

GREY_WORD_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.3"

WINDOW = {"WindowCenter": 1800, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"}


def macros(**about: Any) -> Dataset:
    group = Dataset()
    for name, attributes in about.items():
        inner = Dataset()
        for keyword, value in attributes.items():
            setattr(inner, keyword, value)
        setattr(group, name, [inner])
    return group


@pytest.mark.parametrize("place", ["shared", "of the frame", "of the frame before shared"])
@pytest.mark.parametrize("form", [lambda e: e, implicit, big_endian], ids=["<", "implicit", ">"])
def test_one_frame_in_a_multi_frame_object_is_a_film(
    place: str, form: Callable[[bytes], bytes], make_dicom: MakeDicom
) -> None:
    values, rescale = drawn(12), {"RescaleSlope": "2", "RescaleIntercept": "-100"}
    right = macros(FrameVOILUTSequence=WINDOW, PixelValueTransformationSequence=rescale)
    wrong = macros(FrameVOILUTSequence={"WindowCenter": 9, "WindowWidth": 9})
    groups = {
        "shared": {"SharedFunctionalGroupsSequence": [right]},
        "of the frame": {"PerFrameFunctionalGroupsSequence": [right]},
        "of the frame before shared": {
            "SharedFunctionalGroupsSequence": [wrong],
            "PerFrameFunctionalGroupsSequence": [right],
        },
    }[place]
    multi = {"NumberOfFrames": 1, "SOPClassUID": GREY_WORD_CAPTURE, "BitsStored": 12}
    film = decoded(form(make_dicom(values, **multi, **groups)))
    plain = decode_film(make_dicom(values, BitsStored=12, **WINDOW, **rescale))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


def test_what_the_object_says_at_the_top_comes_before_its_groups(make_dicom: MakeDicom) -> None:
    values, group = drawn(12), macros(FrameVOILUTSequence={"WindowCenter": 9, "WindowWidth": 9})
    film = decoded(
        make_dicom(values, BitsStored=12, SharedFunctionalGroupsSequence=[group], **WINDOW)
    )
    plain = decode_film(make_dicom(values, BitsStored=12, **WINDOW))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


@pytest.mark.parametrize("group", [Dataset(), macros(FrameVOILUTSequence={})])
def test_functional_groups_may_be_empty(group: Dataset, make_dicom: MakeDicom) -> None:
    values = drawn(12)
    film = decoded(make_dicom(values, BitsStored=12, SharedFunctionalGroupsSequence=[group]))
    plain = decode_film(make_dicom(values, BitsStored=12))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


@pytest.mark.parametrize("frames", [1, 0, None])
def test_one_frame_may_be_counted_or_not(frames: int | None, make_dicom: MakeDicom) -> None:
    counted = {} if frames is None else {"NumberOfFrames": frames}
    film = decoded(make_dicom(drawn(12), BitsStored=12, **counted))
    plain = decode_film(make_dicom(drawn(12), BitsStored=12))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


@pytest.mark.parametrize("form", [lambda e: e, implicit, big_endian], ids=["<", "implicit", ">"])
@pytest.mark.parametrize("lacking", ["preamble", "file meta information"])
def test_a_file_may_lack_its_head(
    lacking: str, form: Callable[[bytes], bytes], make_dicom: MakeDicom
) -> None:
    values = drawn(12)
    encoded = form(make_dicom(values, BitsStored=12))
    start = 132 if lacking == "preamble" else 144 + int.from_bytes(encoded[140:144], "little")
    film = decoded(encoded[start:])
    plain = decode_film(make_dicom(values, BitsStored=12))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


def test_a_deflated_file_without_preamble_may_not_inflate_without_end_either(
    make_dicom: MakeDicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cxrclient.errors import TooLarge

    monkeypatch.setattr("cxrclient.films.dicom_file.MAX_INFLATED_BYTES", 5000)
    encoded = make_dicom(drawn(12), syntax="1.2.840.10008.1.2.1.99")[132:]
    with pytest.raises(TooLarge):
        decode_film(encoded)


@pytest.mark.parametrize(
    ("sop_class", "header"),
    [
        ("1.2.840.10008.5.1.4.1.1.1", {"Modality": "CR"}),
        ("1.2.840.10008.5.1.4.1.1.1.1", {"PresentationIntentType": "FOR PRESENTATION"}),
        ("1.2.840.10008.5.1.4.1.1.1.1.1", {"PresentationIntentType": "FOR PROCESSING"}),
        ("1.2.840.10008.5.1.4.1.1.7", {"Modality": "OT", "ConversionType": "DF"}),
        (GREY_WORD_CAPTURE, {"Modality": "OT", "NumberOfFrames": 1}),
    ],
    ids=["CR", "DX", "DX for processing", "secondary capture", "multi-frame capture"],
)
def test_every_object_of_radiography_is_read(
    sop_class: str, header: dict[str, Any], make_dicom: MakeDicom
) -> None:
    values = drawn(12)
    film = decoded(make_dicom(values, BitsStored=12, SOPClassUID=sop_class, **header))
    plain = decode_film(make_dicom(values, BitsStored=12))
    np.testing.assert_array_equal(film.pixels, plain.pixels)


def test_overlays_are_never_drawn(make_dicom: MakeDicom) -> None:
    values = drawn(12)
    dataset = dcmread(io.BytesIO(make_dicom(values, BitsStored=12)))
    for group in (0x6000, 0x6002):
        dataset.add_new((group, 0x0010), "US", values.shape[0])
        dataset.add_new((group, 0x0011), "US", values.shape[1])
        dataset.add_new((group, 0x0040), "CS", "G")
        dataset.add_new((group, 0x0050), "SS", [1, 1])
        dataset.add_new((group, 0x0100), "US", 1)
        dataset.add_new((group, 0x0102), "US", 0)
        dataset.add_new((group, 0x3000), "OW", b"\xff" * (values.size // 8))
    film = decoded(written(dataset, "1.2.840.10008.1.2.1"))
    plain = decode_film(make_dicom(values, BitsStored=12))
    np.testing.assert_array_equal(film.pixels, plain.pixels)
