"""The keys of a recipe, checked by pydantic, and the digests of what they say."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cxrclient.files import sha256_of
from cxrclient.wire import Finding
from cxrexport.ensemble import DEFAULT_MEMBERS, check_members
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.training.recipe.words import faults_in_words, no_such_key
from cxrexport.training.schedule import Schedule

_STRICT = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Augmentation(BaseModel):
    """Each augmentation's probability and range; a probability of 0 leaves it out.

    Source: the study's supplement lists nine; it gives no range for the intensity ones and no
    probability for sharpening or blurring, so those are ours.
    """

    model_config = _STRICT

    brighten: float = Field(0.4, ge=0, le=1)
    """probability of another brightness"""
    brighten_by: float = Field(0.2, ge=0, le=1, description="largest factor added to 1")
    gamma: float = Field(0.3, ge=0, le=1)
    """probability of another gamma"""
    gamma_range: tuple[float, float] = (0.7, 1.5)
    """smallest and largest exponent"""
    clahe: float = Field(0.4, ge=0, le=1)
    """probability of one more equalisation by tiles (CLAHE)"""
    clahe_clip_range: tuple[float, float] = (1.0, 3.0)
    """smallest and largest clip limit"""
    rotate: float = Field(0.4, ge=0, le=1)
    """probability of a turn"""
    rotate_degrees: float = Field(7.0, ge=0)
    """largest turn to either side"""
    shear: float = Field(0.4, ge=0, le=1)
    """probability of a shear"""
    shear_degrees: float = Field(7.0, ge=0)
    """largest shear to either side"""
    scale: float = Field(0.4, ge=0, le=1)
    """probability of another size"""
    scale_by: float = Field(0.2, ge=0, lt=1)
    """largest share that is added or taken away"""
    flip: float = Field(0.5, ge=0, le=1)
    """probability that left and right change places"""
    sharpen_or_blur: float = Field(0.4, ge=0, le=1)
    """probability that the film is made sharper or softer"""
    sharpen_by: tuple[float, float] | None = Field(
        None, description="how many times what a blur takes away is added; MONAI's own is (10, 30)"
    )
    mask_to_lungs: float | None = Field(
        None, ge=0, le=1, description="probability that the film is multiplied by its lung map"
    )


PROBABILITIES = (
    "brighten",
    "gamma",
    "clahe",
    "rotate",
    "shear",
    "scale",
    "flip",
    "sharpen_or_blur",
)
"""The fields of `Augmentation` that are probabilities, of the study's augmentations."""


class Recipe(BaseModel):
    """Everything a run depends on but the films; its digest is stored with every checkpoint."""

    model_config = _STRICT

    name: str
    """of the recipe, and of the model that is built from it"""
    negative: str
    """the manifest's label of films without the finding"""
    positive: str
    """the manifest's label of films with the finding"""
    finding: Finding | None = None
    """what the positive class is, as a coded concept"""
    preprocessing: dict[str, Any]
    """how a film becomes the networks' input"""
    width: float = Field(gt=0, le=1)
    """factor on every backbone's feature channels; 1 is the study's"""
    widths: dict[str, Annotated[float, Field(gt=0, le=1)]] | None = None
    """backbone → its width where that is another, as starting weights may ask for"""
    members: tuple[str, ...] | None = None
    """the backbones that are served together, 1 to 5, in their order; without it the study's four
    """
    input: Literal["film", "masked"] | None = None
    """`film`: the backbones see [film, 0, 0] and need no lung network; `masked`: they see
    [film times lung map, lung map, 0]; without it [film, lung map, 0]"""
    pooling: Literal["average", "lung", "both"] | None = None
    """how a head reduces maps to numbers: mean over the film (without it, too), over the lungs, or
    both"""
    stages: Literal[1, 2] | None = None
    """how many of a backbone's last parts its head reads; without it 1"""
    seed: int = 0
    """of first weights, augmentation, and splits that are drawn"""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """of the arithmetic; `auto` takes bf16 where the processor has it"""
    augmentation: Augmentation = Augmentation()
    """how the training films are changed at random"""
    segment_augmentation: Augmentation | None = None
    """of the lung network's films, where those are augmented otherwise than the backbones'"""
    segment: Schedule
    """how the lung network learns"""
    classify: Schedule
    """how the backbones learn"""
    overrides: dict[str, dict[str, Any]] = {}
    """backbone → keys of its schedule that differ from `classify`"""
    notice: str = "Research use only. Not a medical device."
    """a sentence that is shown wherever a probability is"""

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        self._check_preprocessing()
        for name in self.overrides:
            try:
                self.schedule(name)
            except ValidationError as error:
                faults = faults_in_words(error, Schedule, ("overrides", name))
                raise ValueError(faults) from error
        check_members(self.served)
        _check_backbones("widths", self.widths or ())
        _check_backbones("members", self.members or ())
        if self.negative == self.positive:
            raise ValueError("negative and positive must differ")
        if not self.needs_lungs and self.pooling not in (None, "average"):
            raise ValueError(
                f"pooling: {self.pooling} needs lung maps, and input: film has none; leave out one"
            )
        if self.input is not None and self.augmentation.mask_to_lungs:
            raise ValueError(
                f"augmentation.mask_to_lungs masks some films, input: {self.input} all or none; "
                "leave out one"
            )
        self._check_schedules()
        return self

    def _check_preprocessing(self) -> None:
        known = [field.name for field in fields(PreprocessingSpec)]
        for key in self.preprocessing:
            if key not in known:
                raise ValueError(no_such_key(("preprocessing", key), known))
        try:
            _ = self.spec
        except ValueError as error:
            said = str(error).removeprefix("preprocessing spec: ")
            raise ValueError(f"preprocessing.{said}") from error

    def check_overrides(self) -> None:
        """Refuse `overrides` of what is no backbone: nothing would ever read them.

        Not a part of validation, so that every run that was ever made can be opened.

        Raises:
            ValueError: there is no backbone of such a name.
        """
        _check_backbones("overrides", self.overrides)

    def _check_schedules(self) -> None:
        """Refuse what is asked of the lung network in vain, and what a cache cannot hold."""
        for field in ("frozen", "rates", "warm_up", "standardise", "cached", "norms"):
            if getattr(self.segment, field) is not None:
                raise ValueError(f"segment.{field}: the lung network has no parts and no head")
        others = {*PROBABILITIES, "mask_to_lungs"} - {"flip"}
        drawn = sorted(name for name in others if getattr(self.augmentation, name))
        if drawn and any(self.schedule(name).cached for name in ("classify", *self.overrides)):
            raise ValueError(
                f"augmentation.{drawn[0]}: cached features know a film and its flip only; set it "
                "to 0, or leave `cached` out of the schedule"
            )

    @property
    def spec(self) -> PreprocessingSpec:
        """The preprocessing that the networks learn behind."""
        return PreprocessingSpec(**self.preprocessing)

    @property
    def served(self) -> tuple[str, ...]:
        """The ensemble's members, in the order of its output MEMBERS."""
        return DEFAULT_MEMBERS if self.members is None else self.members

    @property
    def labels(self) -> tuple[str, str]:
        """Negative, positive: the order of the logits."""
        return self.negative, self.positive

    @property
    def digest(self) -> str:
        """Sha256 hex of the canonical JSON."""
        return _digest(self.model_dump(mode="json"))

    def digest_of(self, network: str) -> str:
        """Sha256 hex of what this network's training depends on: not of the others' schedules.

        So a run's lung network stays valid when only the backbones' schedule changes.
        """
        others = {"name", "notice", "segment", "classify", "overrides", "widths", "members"}
        others |= {"pooling", "stages"} if network == "segment" else set()
        others |= {"segment_augmentation", "finding"}
        facts = self.model_dump(mode="json", exclude=others)
        facts |= {"network": network, "schedule": self.schedule(network).model_dump(mode="json")}
        facts["width"] = self.width_of(network)
        if network == "segment":
            facts["augmentation"] = self.augmentation_of(network).model_dump(mode="json")
            for key in ("width", "negative", "positive", "input"):
                del facts[key]
        return _digest(facts)

    def without_preprocessing(self) -> Recipe:
        """The study's comparison: no crop, no brightness standardisation, no CLAHE, no lung map.

        Nor augmentation. What stays is what any network needs: the film's range in 0..1, padded
        to a square of the same size.
        """
        spec = PreprocessingSpec(
            size_px=self.spec.size_px,
            percentile_low=0.0,
            percentile_high=100.0,
            clahe_clip_limit=0.0,
            crop_min_side=1.0,
        )
        none = {**dict.fromkeys(PROBABILITIES, 0.0), "mask_to_lungs": None}
        return self.model_copy(
            update={
                "name": f"{self.name}-plain",
                "preprocessing": spec.to_dict(),
                "input": "film",
                "pooling": None,
                "augmentation": self.augmentation.model_copy(update=none),
            }
        )

    def augmentation_of(self, network: str) -> Augmentation:
        """How the training films of `segment`, or of the backbones, are augmented."""
        if network != "segment":
            return self.augmentation
        settings = self.segment_augmentation or self.augmentation
        # Never masked where the lungs are to be found.
        return settings.model_copy(update={"mask_to_lungs": None})

    def width_of(self, backbone: str) -> float:
        """Factor on a backbone's feature channels."""
        return (self.widths or {}).get(backbone, self.width)

    @property
    def needs_lungs(self) -> bool:
        """Whether the backbones look at lung maps."""
        return self.input != "film"

    def design_of(self, backbone: str) -> dict[str, Any]:
        """What `cxrexport.networks.make_backbone` takes beside the name and the layout."""
        return {
            "width": self.width_of(backbone),
            "pooling": self.pooling or "average",
            "stages": self.stages or 1,
            "masked": self.input == "masked",
            "standardised": self.schedule(backbone).standardise is not None,
        }

    @property
    def described_width(self) -> str:
        """All widths in words."""
        others = [f"{name} {width:g}" for name, width in (self.widths or {}).items()]
        return f"{self.width:g}" + (f" ({', '.join(others)})" if others else "")

    def schedule(self, network: str) -> Schedule:
        """Return the schedule of `segment` or of a backbone."""
        if network == "segment":
            return self.segment
        return Schedule(**{**self.classify.model_dump(), **self.overrides.get(network, {})})


def _check_backbones(key: str, names: Collection[str]) -> None:
    if set(names) <= set(DEFAULT_MEMBERS):
        return  # torch takes seconds to import
    from cxrexport.networks import ARCHITECTURES

    if unknown := sorted(set(names) - set(ARCHITECTURES)):
        raise ValueError(
            f"{key}: there is no backbone {unknown[0]!r}; choose of {', '.join(ARCHITECTURES)}"
        )


def _digest(facts: Any) -> str:
    # What is None is left out, so that a new option does not disown weights trained before it.
    text = json.dumps(_stated(facts), sort_keys=True, separators=(",", ":"))
    return sha256_of(text.encode())


def _stated(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stated(item) for key, item in value.items() if item is not None}
    return value
