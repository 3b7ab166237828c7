"""What is fixed about a network beside its width: how its weights learnt, what its head reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Pooling = Literal["average", "lung", "both"]

KEY = "layout"
"""Where metadata keep it."""


@dataclass(frozen=True)
class Layout:
    """Details of a ResNet in which published weights differ; the defaults are torchvision's.

    Weights only give the features that they learnt in the layout that they learnt in, so it
    travels with them: in the starting weights' file, the checkpoint and the graph.

    Attributes:
        stem: channels of the first convolution; None for 64 times the width.
        stride: which convolution of a bottleneck block halves the maps: the `first`, 1×1, as in
            He et al. and Caffe, or the `second`, 3×3, as in torchvision. Basic blocks have no
            choice.
        pool: where the stem's max pool is padded: `symmetric`, one pixel all around, or `end`, one
            below and right.

    Raises:
        ValueError: a value that does not exist.
    """

    stem: int | None = None
    stride: Literal["first", "second"] = "second"
    pool: Literal["symmetric", "end"] = "symmetric"

    def __post_init__(self) -> None:
        if self.stem is not None and not (isinstance(self.stem, int) and self.stem > 0):
            raise ValueError(f"layout: stem is a number of channels, not {self.stem!r}.")
        for name, allowed in (("stride", ("first", "second")), ("pool", ("symmetric", "end"))):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"layout: {name} is {' or '.join(allowed)}, not {getattr(self, name)!r}."
                )

    def to_dict(self) -> dict[str, Any]:
        """Give what differs from the defaults, for JSON; empty for torchvision's layout."""
        return {key: value for key, value in asdict(self).items() if value != getattr(Layout, key)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Layout:
        """Read what `to_dict` gave.

        Raises:
            ValueError: an unknown field or value.
        """
        if unknown := sorted(set(fields) - set(asdict(cls()))):
            raise ValueError(f"layout: there is no field {unknown[0]!r}.")
        return cls(**fields)

    @property
    def metadata(self) -> dict[str, str]:
        """Give it as metadata of a weights' file, checkpoint or graph; empty for torchvision's."""
        fields = self.to_dict()
        return {KEY: json.dumps(fields, sort_keys=True)} if fields else {}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Layout:
        """Read what `metadata` gave; torchvision's layout where there is none.

        Raises:
            ValueError: it is no layout.
        """
        try:
            fields = dict(json.loads(metadata.get(KEY, "{}")))
        except (TypeError, ValueError) as error:
            raise ValueError(f"layout: {metadata[KEY]!r} is not an object of JSON.") from error
        return cls.from_dict(fields)


@dataclass(frozen=True)
class Design:
    """How a backbone is laid out, what it sees and what its head reads.

    Attributes:
        layout: what its weights learnt with.
        pooling: mean of each map over the whole film, weighted by the lung map, or both.
        stages: how many of the last parts' maps the head reads: 1 or 2.
        masked: whether the film is multiplied by the lung map first.
        standardised: whether the head shifts and scales each pooled feature first.

    Raises:
        ValueError: a pooling or a number of stages that does not exist.
    """

    layout: Layout = field(default_factory=Layout)
    pooling: Pooling = "average"
    stages: int = 1
    masked: bool = False
    standardised: bool = False

    def __post_init__(self) -> None:
        if self.pooling not in get_args(Pooling):
            raise ValueError(
                f"pooling is {', '.join(get_args(Pooling))}; there is no {self.pooling!r}."
            )
        if self.stages not in (1, 2):
            raise ValueError(f"The head reads 1 or 2 stages, not {self.stages}.")
