"""The members are a list: one to five, in any order, and all that is written follows from it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cxrexport.ensemble import DEFAULT_MEMBERS, embedder_of, graphs_of
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.repository import (
    ADMISSION,
    ENSEMBLE,
    PREPROCESS,
    RepositorySpec,
    ServedCalibration,
    model_digest,
)
from cxrexport.repository.configs import configuration_texts, parse

SPEC = RepositorySpec("test", PreprocessingSpec(size_px=64), ("other", "covid"), 0.5, "Random.")
LISTS = [
    ("vgg16",),
    ("resnet50", "vgg16"),
    ("vgg16", "resnet152", "resnet34"),
    ("vgg16", "resnet152", "resnet50", "resnet34"),
    ("tiny", *DEFAULT_MEMBERS),
]


def of(members: tuple[str, ...]) -> RepositorySpec:
    return replace(SPEC, members=members)


@pytest.mark.parametrize("members", LISTS)
def test_each_member_is_a_step_whose_logits_and_cam_the_average_gets_in_their_order(
    members: tuple[str, ...],
) -> None:
    texts = configuration_texts(of(members), "d" * 64)
    assert {name.split("/")[0] for name in texts} == {
        *graphs_of(members),
        PREPROCESS,
        ADMISSION,
        ENSEMBLE,
    }
    average = parse(texts["average/config.pbtxt"])
    assert [tensor.name for tensor in average.input] == [
        f"{tensor}_{name.upper()}" for tensor in ("LOGITS", "CAM") for name in members
    ]
    ensemble = parse(texts["cxr/config.pbtxt"])
    steps = {step.model_name: step for step in ensemble.ensemble_scheduling.step}
    for member in members:
        for tensor in ("LOGITS", "CAM"):
            wanted = steps["average"].input_map[f"{tensor}_{member.upper()}"]
            assert steps[member].output_map[tensor] == wanted
    shapes = {tensor.name: list(tensor.dims) for tensor in ensemble.output}
    assert shapes["MEMBERS"] == [len(members)]
    assert json.loads(ensemble.parameters["members"].string_value) == list(members)


@pytest.mark.parametrize(
    ("members", "embedder"),
    [
        (("vgg16",), "vgg16"),
        (("vgg16", "resnet50"), "resnet50"),
        (("resnet152", "resnet34"), "resnet152"),
    ],
)
def test_the_embedding_is_resnet50s_else_the_first_members_and_clients_are_told(
    members: tuple[str, ...], embedder: str
) -> None:
    assert embedder_of(members) == embedder
    ensemble = parse(configuration_texts(of(members), "d" * 64)["cxr/config.pbtxt"])
    steps = {step.model_name: step for step in ensemble.ensemble_scheduling.step}
    assert [name for name in members if "EMBEDDING" in steps[name].output_map] == [embedder]
    given = steps[embedder].output_map["EMBEDDING"]
    assert steps[ADMISSION].input_map["EMBEDDING"] == given
    assert ensemble.parameters["embedder"].string_value == embedder


def test_whose_embedding_it_is_is_part_of_the_digest_but_of_the_default_members() -> None:
    hashes = dict.fromkeys(graphs_of(DEFAULT_MEMBERS), "0" * 64)
    digests = {
        model_digest(hashes, of(members))
        for members in (DEFAULT_MEMBERS, ("resnet34",), ("vgg16",))
    }
    assert len(digests) == 3
    # As it was before members were a list.
    assert model_digest(hashes, SPEC) == (
        "16b7d2e172e58748a23bb4acb4fccae41f7521a752ab2627727d340d8d1c969b"
    )


def test_a_repository_of_before_members_were_a_list_has_the_default_ones() -> None:
    values = SPEC.to_dict()
    assert "members" not in values
    assert RepositorySpec.from_dict(values) == SPEC


@pytest.mark.parametrize("members", LISTS)
def test_the_list_survives_json_in_its_order(members: tuple[str, ...]) -> None:
    values = json.loads(json.dumps(of(members).to_dict()))
    assert RepositorySpec.from_dict(values).members == members


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ((), "1 to 5 members, not 0"),
        (tuple("abcdef"), "1 to 5 members, not 6"),
        (("vgg16", "vgg16"), "twice"),
        (("VGG16",), "small letters"),
        (("vgg 16",), "small letters"),
        (("../vgg16",), "small letters"),
        (("segment",), "another model is"),
        (("cxr",), "another model is"),
    ],
)
def test_a_list_that_no_ensemble_can_have_is_refused(members: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        of(members)


def test_there_is_a_temperature_for_each_member() -> None:
    fitted = ServedCalibration((1.0, 2.0), (), None, "validation", films=80, positives=33)
    assert replace(of(("resnet50", "vgg16")), calibration=fitted).calibration == fitted
    with pytest.raises(ValueError, match="3 temperatures"):
        replace(of(("resnet50", "vgg16", "resnet34")), calibration=fitted)
