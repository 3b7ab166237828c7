"""What the networks and baselines are called in figures and tables."""

from __future__ import annotations

from cxrexport.evaluation.comparison import Comparison, Row

NETWORK_NAMES: dict[str, str] = {
    "resnet34": "ResNet34",
    "resnet50": "ResNet50",
    "resnet50-plain": "ResNet50 without preprocessing",
    "resnet152": "ResNet152",
    "vgg16": "VGG16",
    "densenet121": "DenseNet121 (CheXpert)",
    "ensemble": "Ensemble (mean)",
    "vote": "Majority vote",
}


def network_name(network: str) -> str:
    """What a network is called; one that was added later by its own name."""
    return NETWORK_NAMES.get(network, network)


def judge_name(comparison: Comparison) -> str:
    """Whose scores the report is of, for a sentence: the ensemble, or its only member by name."""
    only = sole_member(comparison)
    return "the ensemble" if only is None else network_name(only)


def sole_member(comparison: Comparison) -> str | None:
    """The ensemble's only member; None where it has several, or none."""
    row = comparison.row("ensemble")
    return row.members[0] if row is not None and len(row.members) == 1 else None


def rows_shown(comparison: Comparison) -> tuple[Row, ...]:
    """The rows of the networks' table: no ensemble of one, no vote of two, no baselines.

    Trivial baselines stand in the audit, which ranks films of one fold only with each other.
    """
    fewest = {"ensemble": 2, "vote": 3}
    return tuple(row for row in comparison.rows if len(row.members) >= fewest.get(row.name, 1))


BASELINE_NAMES: dict[str, str] = {
    "thumbnail": "Thumbnail 24 \N{MULTIPLICATION SIGN} 24",
    "aspect_ratio": "Aspect ratio alone",
    "view": "View alone",
    "age": "Age alone",
    "source": "Source alone",
}
BLANKED_NAMES: dict[str, str] = {
    "no_lungs": "lungs blanked out",
    "only_lungs": "everything but the lungs blanked out",
    "only_border": "only a border kept",
    "no_lungs_map_kept": "lungs blanked out, map kept",
    "only_border_map_kept": "only a border kept, and the map",
}
