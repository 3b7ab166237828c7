"""Whether two models make the same embeddings, by the records of their model repositories.

A model's digest is a hash over the hashes of its graphs, its preprocessing and its labels, which
`repository.json` lists. So a record whose facts give a digest is proof of what that model computes.
The embedding of a film depends on preprocessing, lung network and one member only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxrclient.errors import UsageError
from cxrclient.files import open_regular, parse_json, sha256_of

_RECORD = "repository.json"
_MOST_BYTES = 1 << 22
_USUAL_EMBEDDER = "resnet50"


def same_embeddings(
    old_digest: str, old_repository: Path, new_digest: str, new_repository: Path
) -> bool:
    """Whether the embeddings of one model are those of another.

    Args:
        old_digest: of the model whose embeddings there are.
        old_repository: the folder of its `repository.json`.
        new_digest: of the other model.
        new_repository: likewise.

    Raises:
        UsageError: a folder has no record that can be read, or one of another model.
    """
    return _parts(old_digest, old_repository) == _parts(new_digest, new_repository)


def _parts(digest: str, repository: Path) -> tuple[str, ...]:
    """Hashes of all that an embedding depends on."""
    path = repository / _RECORD
    try:
        with open_regular(path) as file:
            record: Any = parse_json(file.read(_MOST_BYTES))
        spec, graphs = record["spec"], record["graphs"]
        preprocessing = sha256_of(
            json.dumps(spec["preprocessing"], sort_keys=True, separators=(",", ":"))
        )
        members = spec.get("members")
        usual = members is None or _USUAL_EMBEDDER in members
        embedder = _USUAL_EMBEDDER if usual else members[0]
        found = _digest(graphs, preprocessing, spec["labels"], members and embedder)
        parts = (preprocessing, str(graphs["segment"]), str(graphs[embedder]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} cannot be read as the record of a model repository ({error!r}). Give the "
            "folder that cxrexport build made."
        ) from error
    if found != digest:
        raise UsageError(
            f"{path} is the record of the model {found[:12]}, not of {digest[:12]}. Give the "
            "repository of that model."
        )
    return parts


def _digest(
    graphs: Mapping[str, str], preprocessing: str, labels: list[str], embedder: str | None
) -> str:
    """The digest of a model, as `cxrexport` works it out (export/cxrexport/repository/write.py)."""
    facts: dict[str, Any] = {
        "graphs": sorted(graphs.items()),
        "preprocessing": preprocessing,
        "labels": labels,
    }
    if embedder:
        facts["embedder"] = embedder
    return sha256_of(json.dumps(facts, sort_keys=True))
