from __future__ import annotations

from dataclasses import fields, replace

import pytest

from cxrexport.preprocessing import PreprocessingSpec

# Computed once from the defaults of version 1. Trained weights are bound to this number: if this
# test fails, either undo the change or raise `version` and train again.
GOLDEN = "1442b29630f5ddb26ed1c806a507c7a05617949abd1205bcba476f9910de0f8f"

OTHER = {
    "size_px": 512,
    "percentile_low": 2.0,
    "percentile_high": 98.0,
    "percentile_grid": 128,
    "clahe_clip_limit": 3.0,
    "clahe_tiles": 4,
    "crop_thumbnail_px": 128,
    "crop_black": 0.06,
    "crop_white": 0.97,
    "crop_opening": 0.04,
    "crop_min_area": 0.03,
    "crop_min_side": 0.5,
}


def test_the_digest_of_the_defaults_never_changes() -> None:
    assert PreprocessingSpec().digest == GOLDEN


def test_every_parameter_but_the_version_can_be_varied() -> None:
    assert set(OTHER) == {field.name for field in fields(PreprocessingSpec)} - {"version"}


@pytest.mark.parametrize("name", OTHER)
def test_every_parameter_changes_the_digest(name: str) -> None:
    assert replace(PreprocessingSpec(), **{name: OTHER[name]}).digest != GOLDEN


def test_whole_and_decimal_numbers_of_one_value_have_one_digest() -> None:
    assert PreprocessingSpec(clahe_clip_limit=2).digest == GOLDEN


def test_from_dict_reads_what_to_dict_wrote() -> None:
    spec = PreprocessingSpec(size_px=512)
    assert PreprocessingSpec.from_dict(spec.to_dict()) == spec


def test_a_missing_key_is_an_error_and_not_a_default() -> None:
    parameters = PreprocessingSpec().to_dict()
    del parameters["clahe_tiles"]
    with pytest.raises(ValueError, match=r"missing keys.*clahe_tiles"):
        PreprocessingSpec.from_dict(parameters)


def test_an_unknown_key_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"unknown keys.*gamma"):
        PreprocessingSpec.from_dict({**PreprocessingSpec().to_dict(), "gamma": 1})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size_px", 1000),
        ("size_px", 0),
        ("size_px", 4096),
        ("size_px", 512.0),
        ("size_px", True),
        ("percentile_low", 99.5),
        ("percentile_high", 101.0),
        ("percentile_low", float("nan")),
        ("percentile_grid", 4),
        ("clahe_clip_limit", -1.0),
        ("clahe_tiles", 0),
        ("clahe_tiles", 400),
        ("crop_thumbnail_px", 8),
        ("crop_black", 0.99),
        ("crop_white", 1.5),
        ("crop_opening", 0.5),
        ("crop_min_area", 0.9),
        ("crop_min_side", 0.0),
        ("version", 2),
        ("crop_black", "0.05"),
    ],
)
def test_values_no_film_could_be_prepared_with_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match="preprocessing spec"):
        replace(PreprocessingSpec(), **{name: value})
