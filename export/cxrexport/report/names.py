"""What the networks and baselines are called in figures and tables."""

from __future__ import annotations

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
