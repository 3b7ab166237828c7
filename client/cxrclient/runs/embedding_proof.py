"""Whether two models make the same embeddings, by the records of their model repositories.

A model's digest is a hash over the hashes of its graphs, its preprocessing and its labels, which
`repository.json` lists. So a record whose facts give a digest is proof of what that model computes.
The embedding of a film depends on preprocessing, lung network and one member only.
"""

from __future__ import annotations

from pathlib import Path

from cxrclient.errors import UsageError
from cxrclient.serving import RECORD, own_repository, read_record


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
    try:
        record = read_record(repository)
        found, embedder = record.follow()
        # A record that lists no members is of the default ones, as the starter's is.
        embedder = embedder or read_record(own_repository()).embedder or ""
        parts = (record.preprocessing, record.graphs["segment"], record.graphs[embedder])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{repository / RECORD} cannot be read as the record of a model repository "
            f"({error!r}). Give the folder that cxrexport build made."
        ) from error
    if found != digest:
        raise UsageError(
            f"{repository / RECORD} is the record of the model {found[:12]}, not of "
            f"{digest[:12]}. Give the repository of that model."
        )
    return parts
