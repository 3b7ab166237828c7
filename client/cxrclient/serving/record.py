"""What `cxrexport build` recorded of a model repository, and the digest that follows from it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrclient.files import parse_json, read_regular, sha256_of
from cxrclient.serving.passports import MOST_BYTES
from cxrclient.wire import Admission

RECORD = "repository.json"
"""At a repository's root; Triton reads directories only."""

_ADMISSION = re.compile(r'key: "admission"\s*value \{\s*string_value: "((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class RepositoryRecord:
    """What `cxrexport build` recorded of a repository in its repository.json.

    Attributes:
        spec: what it was built to be.
        graphs: model → sha256 of its model.onnx, hex.
        digest: of the whole model.
        files: each configuration, step and other generated file, relative to the repository →
            sha256, hex; None in records of before they were listed.
        embedder: the member whose embedding the archive keeps; None in records of before it was
            named.
    """

    spec: Mapping[str, Any]
    graphs: Mapping[str, str]
    digest: str
    files: Mapping[str, str] | None = None
    embedder: str | None = None

    @property
    def preprocessing(self) -> str:
        """The sha256 (hex) of the preprocessing's parameters."""
        parameters = self.spec["preprocessing"]
        return sha256_of(json.dumps(parameters, sort_keys=True, separators=(",", ":")))

    def follow(self) -> tuple[str, str | None]:
        """Work out the digest that must be `digest`, and the member whose embedding it proves.

        No digest says which of the default members it is: then None.

        Raises:
            KeyError, TypeError, AttributeError: the spec is not one.
        """
        embedders: list[str | None] = [None]
        if members := self.spec.get("members"):
            embedders = members if self.embedder is None else [self.embedder]
        found = {
            model_digest(self.graphs, self.preprocessing, self.spec["labels"], embedder): embedder
            for embedder in embedders
        }
        digest = self.digest if self.digest in found else next(iter(found))
        return digest, found[digest]


def model_digest(
    graphs: Mapping[str, str], preprocessing: str, labels: Sequence[str], embedder: str | None
) -> str:
    """Return the sha256 (hex) that names a model: its graphs, preprocessing and labels.

    The threshold, the notice, the name and the gate are not in it: embeddings and probabilities
    stay comparable when they change.

    Args:
        graphs: model → sha256 (hex) of its file.
        preprocessing: sha256 (hex) of its parameters.
        labels: negative and positive.
        embedder: the member that gives the embedding; None for the default members, so that the
            digests of before members were a list stay what they are.
    """
    facts: dict[str, Any] = {
        "graphs": sorted(graphs.items()),
        "preprocessing": preprocessing,
        "labels": list(labels),
    }
    if embedder is not None:
        facts["embedder"] = embedder
    return sha256_of(json.dumps(facts, sort_keys=True))


def has_record(repository: Path) -> bool:
    """Whether a repository has a record; those of before it had none."""
    return (repository / RECORD).exists()


def read_record(repository: Path) -> RepositoryRecord:
    """Read a repository's own record.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read.
        ValueError: it is damaged.
    """
    content = parse_json(read_regular(repository / RECORD, MOST_BYTES))
    try:
        graphs = {str(graph): str(digest) for graph, digest in content["graphs"].items()}
        files, embedder = content.get("files"), content.get("embedder")
        return RepositoryRecord(
            dict(content["spec"]),
            graphs,
            str(content["model_digest"]),
            None if files is None else {str(name): str(digest) for name, digest in files.items()},
            None if embedder is None else str(embedder),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def read_admission(repository: Path) -> Admission:
    """Read the gate's codes from the ensemble's configuration, as a server tells them.

    Raises:
        OSError: the configuration cannot be read.
        ValueError: it has no codes, or they are damaged.
    """
    text = read_regular(repository / "cxr" / "config.pbtxt", MOST_BYTES).decode()
    found = _ADMISSION.search(text)
    if found is None:
        raise ValueError("no admission")
    # Protobuf's escapes of text are C's, and are of bytes.
    told = found[1].encode().decode("unicode_escape").encode("latin-1").decode()
    return Admission.from_parameter(told)
