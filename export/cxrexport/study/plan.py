"""What a study consists of: recipe, splits, networks, and where each trained network lives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cxrexport.evaluation.scores import COMPARISON
from cxrexport.study.splits import Split
from cxrexport.training.recipe import Recipe
from cxrexport.training.run import Run

PLAIN = "resnet50-plain"
"""ResNet50 without preprocessing: another recipe, so a run of its own beside the others."""


def architecture_of(network: str) -> str:
    """`resnet50-plain` → `resnet50`; the others are their own."""
    return network.removesuffix("-plain")


@dataclass(frozen=True)
class Plan:
    """Everything that the workers need; travels to them whole.

    Attributes:
        folder: the study's output.
        recipe: of all networks; `resnet50-plain` follows from it.
        splits: the trials.
        networks: keys of `ARCHITECTURES`, and `resnet50-plain`.
        lungs: whose lung network serves every trial, as `given_lungs` takes it; None trains one a
            trial, on the masks of its training films.
        lungs_note: what that network is and learnt from, in words; None where it is trained.
        pretrained: network → checkpoint that it starts from.
    """

    folder: Path
    recipe: Recipe
    splits: tuple[Split, ...]
    networks: tuple[str, ...] = COMPARISON
    lungs: str | None = None
    pretrained: Mapping[str, str] = field(default_factory=dict)
    lungs_note: str | None = None

    def recipe_of(self, network: str) -> Recipe:
        """The recipe that a network learns by."""
        return self.recipe.without_preprocessing() if network == PLAIN else self.recipe

    def run_of(self, split: Split, network: str) -> Run:
        """The run folder that holds a trial's network."""
        folder = self.trial_folder(split)
        return Run(folder / "plain" if network == PLAIN else folder, self.recipe_of(network))

    def trial_folder(self, split: Split) -> Path:
        """Where a trial's networks and scores are."""
        return self.folder / "trials" / split.name

    def films_folder(self, network: str) -> Path:
        """Where the films are that a network sees, preprocessed, for all trials."""
        return self.folder / "films" / ("plain" if network == PLAIN else "preprocessed")

    @property
    def features_folder(self) -> Path:
        """Where features of frozen parts are kept, for all trials and networks."""
        return self.folder / "features"

    def caches(self, network: str) -> bool:
        """Whether a network learns from features that are computed once."""
        return bool(self.recipe_of(network).schedule(architecture_of(network)).cached)

    @property
    def segments(self) -> bool:
        """Whether any network looks at lung maps."""
        return any(self.recipe_of(network).needs_lungs for network in self.networks)
