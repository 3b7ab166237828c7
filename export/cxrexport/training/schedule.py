"""A schedule: how long and how fast one network learns, and which of its parts do."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

PARTS = ("part1", "part2", "part3", "part4", "part5")
"""A backbone's parts from the film on: a ResNet's stem and four stages, VGG16's five blocks."""
HEAD = "head"


class Schedule(BaseModel):
    """How long and how fast one network learns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(ge=1, description="times that every training film is shown")
    batch_size: int = Field(ge=1, description="films that are shown at once")
    optimizer: Literal["adam", "adamw"] = Field("adam", description="what changes the weights")
    learning_rate: float = Field(gt=0, description="of the optimiser, in the first epoch")
    learning_rate_decay: float = Field(gt=0, le=1, description="factor an epoch")
    weight_decay: float = Field(ge=0, description="how strongly weights are drawn to zero")
    one_cycle: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="share of the steps in which the rate rises to learning_rate, to fall to zero "
        "after it; takes learning_rate_decay's place",
    )
    accumulate: int | None = Field(
        None, ge=1, description="batches whose gradients make one step of the optimiser"
    )
    class_weights: Literal["balanced"] | None = Field(
        None, description="weigh each class by the inverse of its films"
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="keep weights averaged over the steps, each step's share being 1 - ema",
    )
    patience: int | None = Field(
        None, ge=1, description="stop after so many epochs without a better one on validation"
    )
    keep: Literal["last"] | None = Field(
        None, description="the epoch that is kept; by default the best on validation"
    )
    frozen: int | None = Field(
        None,
        ge=0,
        le=len(PARTS),
        description="parts of the backbone, counted from the film, that stay as they start",
    )
    rates: dict[str, Annotated[float, Field(gt=0)]] | None = Field(
        None, description="part1 to part5, or head → factor on its learning_rate"
    )
    warm_up: int | None = Field(
        None, ge=1, description="the first epochs, in which the head alone learns"
    )
    norms: Literal["kept"] | None = Field(
        None, description="batch norms keep the statistics that they start with, learning or not"
    )
    standardise: Literal[True] | None = Field(
        None, description="bring each of the head's features to mean 0 and deviation 1"
    )
    cached: Literal[True] | None = Field(
        None, description="compute the frozen parts once for each film and its flip"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Schedule:
        frozen = PARTS[: self.frozen or 0]
        if self.keep and self.patience:
            raise ValueError("keep: last goes with no `patience`, which waits for a better epoch")
        if self.cached and not frozen:
            raise ValueError("cached: nothing is frozen that could be; give `frozen`: 1 to 5")
        if unknown := sorted(set(self.rates or ()) - {*PARTS, HEAD}):
            raise ValueError(f"rates: there is no {unknown[0]}; name part1 to part5, or head")
        if idle := sorted(set(self.rates or ()).intersection(frozen)):
            raise ValueError(f"rates: {idle[0]} is frozen; leave it out")
        if self.warm_up is not None and self.warm_up >= self.epochs:
            raise ValueError(f"warm_up: must be less than the {self.epochs} epochs")
        return self
