"""Recipes: a YAML file that says all that a training run depends on, but the films."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cxrclient.files import parse_yaml, sha256_of
from cxrclient.wire import Finding
from cxrexport.ensemble import DEFAULT_MEMBERS, check_members
from cxrexport.errors import RecipeError
from cxrexport.preprocessing import PreprocessingSpec
from cxrexport.training.schedule import Schedule

__all__ = ["Augmentation", "Recipe", "Schedule", "load_recipe"]

_STRICT = ConfigDict(extra="forbid", frozen=True)


class Augmentation(BaseModel):
    """Each augmentation's probability and range; a probability of 0 leaves it out.

    Source: the study's supplement lists nine; it gives no range for the intensity ones and no
    probability for sharpening or blurring, so those are ours.
    """

    model_config = _STRICT

    brighten: float = Field(0.4, ge=0, le=1)
    brighten_by: float = Field(0.2, ge=0, le=1, description="largest factor added to 1")
    gamma: float = Field(0.3, ge=0, le=1)
    gamma_range: tuple[float, float] = (0.7, 1.5)
    clahe: float = Field(0.4, ge=0, le=1)
    clahe_clip_range: tuple[float, float] = (1.0, 3.0)
    rotate: float = Field(0.4, ge=0, le=1)
    rotate_degrees: float = Field(7.0, ge=0)
    shear: float = Field(0.4, ge=0, le=1)
    shear_degrees: float = Field(7.0, ge=0)
    scale: float = Field(0.4, ge=0, le=1)
    scale_by: float = Field(0.2, ge=0, lt=1)
    flip: float = Field(0.5, ge=0, le=1)
    sharpen_or_blur: float = Field(0.4, ge=0, le=1)
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
    negative: str
    positive: str
    finding: Finding | None = None
    """What the positive class is, as a coded concept: scheme, value and meaning."""
    preprocessing: dict[str, Any]
    width: float = Field(gt=0, le=1)
    widths: dict[str, Annotated[float, Field(gt=0, le=1)]] | None = None
    """Backbone → its width where that is another, as starting weights may ask for."""
    members: tuple[str, ...] | None = None
    """The backbones that are served together, 1 to 5, in their order; None for the study's four."""
    input: Literal["film", "masked"] | None = None
    """`film`: the backbones see [film, 0, 0] and need no lung network; `masked`: they see
    [film times lung map, lung map, 0]."""
    pooling: Literal["average", "lung", "both"] | None = None
    """How a head reduces maps to numbers: mean over the film (None too), over the lungs, or both.
    """
    stages: Literal[1, 2] | None = None
    """How many of a backbone's last parts its head reads; None for 1."""
    seed: int = 0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    augmentation: Augmentation = Augmentation()
    segment_augmentation: Augmentation | None = None
    """Of the lung network's films, where those are augmented otherwise than the backbones'."""
    segment: Schedule
    classify: Schedule
    overrides: dict[str, dict[str, Any]] = {}
    """Backbone → fields of its schedule that differ from `classify`."""
    notice: str = "Research use only. Not a medical device."

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        _ = self.spec
        for name in self.overrides:
            self.schedule(name)
        check_members(self.served)
        for field, names in (("widths", self.widths or ()), ("members", self.members or ())):
            if names:
                from cxrexport.networks import ARCHITECTURES  # torch takes seconds to import

                if unknown := sorted(set(names) - set(ARCHITECTURES)):
                    raise ValueError(f"{field}: there is no backbone {unknown[0]!r}")
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


def _digest(facts: Any) -> str:
    # What is None is left out, so that a new option does not disown weights trained before it.
    text = json.dumps(_stated(facts), sort_keys=True, separators=(",", ":"))
    return sha256_of(text.encode())


def _stated(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stated(item) for key, item in value.items() if item is not None}
    return value


def load_recipe(name_or_path: str) -> Recipe:
    """Read a recipe that ships with the package (`starter`, `paper`), or a YAML file.

    `extends: other.yaml` takes over all that a recipe does not say itself: a file's path from the
    recipe's own folder, or the name of a recipe that ships. Mappings are joined key by key; all
    else is replaced. The recipe that is returned, and recorded in a run, is the whole one.

    Raises:
        RecipeError: no such recipe; one that extends itself; fields that are missing, unknown or
            out of range.
    """
    fields = _read_fields(_find(name_or_path, Path()), ())
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'recipe'}: {e['msg']}" for e in error.errors()
        )
        raise RecipeError(f"{name_or_path}: {problems}.") from error


def _find(name_or_path: str, folder: Path) -> Path:
    shipped = Path(str(resources.files("cxrexport.training"))) / "recipes" / f"{name_or_path}.yaml"
    path = shipped if shipped.is_file() else folder / name_or_path
    if not path.is_file():
        raise RecipeError(
            f"There is no recipe {str(folder / name_or_path)!r}; choose starter, paper or a YAML "
            "file."
        )
    return path.resolve()


def _read_fields(path: Path, extending: tuple[Path, ...]) -> Any:
    """What a recipe says, joined to what it extends.

    Args:
        path: of the recipe.
        extending: the recipes that led here, the first one first.
    """
    if path in extending:
        circle = " extends ".join(str(each) for each in (*extending, path))
        raise RecipeError(f"A recipe cannot extend itself: {circle}.")
    try:
        fields = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path} is not YAML that can be read: {error}.") from error
    if not isinstance(fields, dict) or "extends" not in fields:
        return fields
    other = fields.pop("extends")
    if not isinstance(other, str):
        raise RecipeError(f"{path}: extends: name one recipe, not {other!r}.")
    return _joined(_read_fields(_find(other, path.parent), (*extending, path)), fields)


def _joined(base: Any, own: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(own, dict)):
        return own
    return {**base, **{key: _joined(base.get(key), value) for key, value in own.items()}}
