"""What the study itself reports, as data: every table of ours prints it beside our value.

Source: "COVID-19 classification of X-ray images using deep neural networks", European Radiology
2021;31:9654-9663 (`published`), and its preprints medRxiv 2020.10.01.20204073 and arXiv 2010.01362
(`preprint`). Where the two disagree, both are given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Edition = Literal["published", "preprint"]

TITLE = "COVID-19 classification of X-ray images using deep neural networks"
PUBLISHED: Mapping[Edition, str] = {
    "published": "European Radiology 2021;31:9654\N{EN DASH}9663",
    "preprint": "medRxiv 2020.10.01.20204073, arXiv 2010.01362",
}


@dataclass(frozen=True)
class PaperValue:
    """One figure of the study.

    Attributes:
        value: in 0..1.
        edition: where it stands.
        low: lower end of its 95 % interval, where the study gives one.
        high: upper end.
        part: films behind it, where the study gives counts.
        whole: of so many.
    """

    value: float
    edition: Edition
    low: float | None = None
    high: float | None = None
    part: int | None = None
    whole: int | None = None


@dataclass(frozen=True)
class PaperDistance:
    """Euclidean distances of ResNet50 embeddings, test film to training film: mean ± sd."""

    mean: float
    sd: float


@dataclass(frozen=True)
class Cohort:
    """Films and patients of the study; positive is COVID-19."""

    films: int
    positives: int
    negatives: int
    positive_patients: int
    negative_patients: int
    test_films: int
    test_positives: int
    hospitals: int
    excluded: int


COHORT = Cohort(2326, 1191, 1135, 360, 1024, 350, 179, 4, 101)
"""The published Table 2 counts 351 test films (180 positive) in all rows but one."""

_METRICS = ("accuracy", "sensitivity", "specificity")


def _table_2() -> dict[tuple[str, str], tuple[PaperValue, ...]]:
    published = {
        "resnet34": (86.8, 83.8, 90.0),
        "resnet50": (90.0, 90.5, 89.4),
        "resnet50-plain": (85.1, 82.1, 88.3),
        "resnet152": (87.1, 83.3, 91.2),
        "densenet121": (80.6, 81.1, 80.6),
        "vgg16": (85.2, 81.6, 88.8),
    }
    preprint = {
        "resnet34": (89.4, 87.1, 91.8),
        "resnet50": (89.7, 87.1, 92.4),
        "resnet50-plain": (85.1, 82.1, 88.3),
        "resnet152": (86.0, 83.2, 90.6),
        "densenet121": (84.0, 86.5, 81.2),
        "vgg16": (87.7, 87.1, 88.3),
        "vote": (90.5, 88.8, 92.3),
    }
    values: dict[tuple[str, str], tuple[PaperValue, ...]] = {}
    editions: tuple[tuple[Edition, dict[str, tuple[float, float, float]]], ...] = (
        ("published", published),
        ("preprint", preprint),
    )
    for edition, rows in editions:
        for network, percents in rows.items():
            for metric, percent in zip(_METRICS, percents, strict=True):
                ours = PaperValue(round(percent / 100, 3), edition)
                values[network, metric] = (*values.get((network, metric), ()), ours)
    for metric, value, low, high in (
        ("accuracy", 0.903, 0.863, 0.937),
        ("sensitivity", 0.905, 0.85, 0.94),
        ("specificity", 0.900, 0.843, 0.94),
        ("roc_auc", 0.96, 0.93, 0.97),
        ("pr_auc", 0.96, 0.94, 0.97),
    ):
        values["ensemble", metric] = (PaperValue(value, "published", low, high),)
    return values


NETWORKS: Mapping[tuple[str, str], tuple[PaperValue, ...]] = _table_2()
"""Row and metric → the study's values. `densenet121` stands for its CheXpert network, whose
architecture it does not state; `resnet50-plain` for ResNet50 without preprocessing; `vote` for the
preprint's majority of five networks."""

RETRIEVAL: Mapping[str, PaperValue] = {
    "accuracy": PaperValue(305 / 350, "published", part=305, whole=350),
    "sensitivity": PaperValue(149 / 179, "published", part=149, whole=179),
    "specificity": PaperValue(156 / 171, "published", part=156, whole=171),
}
"""Mean of the predictions of the four nearest training films."""

DISTANCES: Mapping[str, PaperDistance] = {
    "all": PaperDistance(3.9, 2.5),
    "positive_positive": PaperDistance(1.4, 1.9),
    "negative_negative": PaperDistance(2.2, 1.3),
    "between": PaperDistance(5.8, 1.9),
}

HARD: Mapping[str, PaperValue] = {
    "accuracy": PaperValue(0.77, "published", whole=22),
    "sensitivity": PaperValue(0.77, "published", whole=9),
}
"""22 films that the readers judged hard, 9 of them positive."""


def is_the_papers_question(labels: tuple[str, str]) -> bool:
    """Whether the positive class is COVID-19: of others the study's figures say nothing."""
    return re.match(r"(covid|sars.?cov.?2)", labels[1].casefold()) is not None


def paper_values(row: str, metric: str) -> tuple[PaperValue, ...]:
    """The study's values of a network, `ensemble` or `vote`; empty where it gives none."""
    return NETWORKS.get((row, metric), ())
