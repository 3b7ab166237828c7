"""The study's own values: what they must be, from the study's text and not from our table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cxrexport.evaluation.scores import COMPARISON
from cxrexport.report.paper import DISTANCES, NETWORKS, RETRIEVAL, paper_values

METRICS = ("accuracy", "sensitivity", "specificity")
NAMES = {
    "ResNet34": "resnet34",
    "ResNet50": "resnet50",
    "ResNet50, no preprocessing": "resnet50-plain",
    "ResNet152": "resnet152",
    "CheXpert": "densenet121",
    "VGG16": "vgg16",
}


def percents(row, edition):
    return tuple(
        next(100 * value.value for value in paper_values(row, metric) if value.edition == edition)
        for metric in METRICS
    )


def test_every_row_of_table_2_has_both_editions():
    for network in COMPARISON:
        for metric in METRICS:
            editions = [value.edition for value in paper_values(network, metric)]
            assert editions == ["published", "preprint"], (network, metric)


def test_the_ensemble_is_the_published_one_with_its_intervals():
    accuracy = NETWORKS["ensemble", "accuracy"][0]
    assert (accuracy.value, accuracy.low, accuracy.high) == (0.903, 0.863, 0.937)
    area = NETWORKS["ensemble", "roc_auc"][0]
    assert (area.value, area.low, area.high) == (0.96, 0.93, 0.97)


def test_the_vote_is_the_preprint_s():
    assert percents("vote", "preprint") == pytest.approx((90.5, 88.8, 92.3))
    assert [value.edition for value in paper_values("vote", "accuracy")] == ["preprint"]


def test_the_retrieval_s_shares_are_its_counts():
    counts = {name: (value.part, value.whole) for name, value in RETRIEVAL.items()}
    assert counts == {
        "accuracy": (305, 350), "sensitivity": (149, 179), "specificity": (156, 171)
    }  # fmt: skip
    assert RETRIEVAL["accuracy"].value == pytest.approx(0.8714, abs=1e-4)


def test_what_the_study_does_not_report_has_no_value():
    assert paper_values("resnet34", "roc_auc") == ()
    assert paper_values("thumbnail", "accuracy") == ()


def test_the_table_is_that_of_the_facts_about_the_study():
    text = Path(__file__).parents[4] / "shared" / "PAPER.md"
    if not text.is_file():
        pytest.skip("the facts about the study are not beside this checkout")
    content = text.read_text(encoding="utf-8")
    for name, network in NAMES.items():
        row = re.search(rf"^\| {re.escape(name)} \| (.+) \| (.+) \|$", content, re.MULTILINE)
        assert row is not None, name
        published = [float(number) for number in row[1].split(" / ")]
        assert percents(network, "published") == pytest.approx(published)
        preprint = published if row[2] == "same" else [float(n) for n in row[2].split(" / ")]
        assert percents(network, "preprint") == pytest.approx(preprint)
    for mean, sd in ((d.mean, d.sd) for d in DISTANCES.values()):
        assert f"{mean} ± {sd}" in content
