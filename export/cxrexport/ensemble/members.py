"""The list of an ensemble's members: what is legal, and which member gives the embedding."""

from __future__ import annotations

import re
from collections.abc import Sequence

DEFAULT_MEMBERS = ("resnet34", "resnet50", "resnet152", "vgg16")
"""The networks whose outputs the study averages, in the order of the output MEMBERS."""
MOST_MEMBERS = 5
SEGMENT = "segment"
"""The lung network's graph, before the members."""
AVERAGE = "average"
"""The graph that joins the members."""

_PREFERRED_EMBEDDER = "resnet50"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TAKEN = frozenset({SEGMENT, AVERAGE, "preprocess", "admission", "cxr"})


def check_members(members: Sequence[str]) -> None:
    """Refuse a list that no ensemble can be made of.

    Raises:
        ValueError: not one to five members, one is there twice, or has a name that a model of the
            repository cannot have.
    """
    if not 1 <= len(members) <= MOST_MEMBERS:
        raise ValueError(f"an ensemble has 1 to {MOST_MEMBERS} members, not {len(members)}")
    if len(set(members)) < len(members):
        raise ValueError(f"a member is there twice: {', '.join(members)}")
    for name in members:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"a member's name is of small letters, digits and underscores, not {name!r}"
            )
        if name in _TAKEN:
            raise ValueError(f"no member can be named {name!r}: another model is")


def embedder_of(members: Sequence[str]) -> str:
    """Name the member whose embedding the archive keeps: resnet50 as in the study, or the first."""
    return _PREFERRED_EMBEDDER if _PREFERRED_EMBEDDER in members else members[0]


def graphs_of(members: Sequence[str]) -> tuple[str, ...]:
    """Name the models that are ONNX graphs, in the order in which they run."""
    return (SEGMENT, *members, AVERAGE)


def of_member(tensor: str, model: str) -> str:
    """Name a model's tensor where others have one of that name too: LOGITS_VGG16."""
    return f"{tensor}_{model.upper()}"
