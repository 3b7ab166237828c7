"""What a model repository is made from: one frozen spec, and the tensors at every model's edge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cxrexport.preprocessing import PreprocessingSpec

__all__ = ["ENSEMBLE", "GRAPHS", "MEMBERS", "PREPROCESS", "Edges", "RepositorySpec", "Tensor"]

MEMBERS = ("resnet34", "resnet50", "resnet152", "vgg16")
"""The voters, in the order of the output MEMBERS."""
GRAPHS = ("segment", *MEMBERS, "average")
"""The models that are ONNX graphs."""
PREPROCESS = "preprocess"
ENSEMBLE = "cxr"

CAM_STRIDE = 32
"""All four backbones halve the image five times."""


@dataclass(frozen=True)
class Tensor:
    """One tensor at a model's edge; `dims` leave the batch axis out."""

    name: str
    dtype: Literal["FP32", "INT32", "STRING"]
    dims: tuple[int, ...]


@dataclass(frozen=True)
class Edges:
    """Inputs and outputs of one model, in order."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class RepositorySpec:
    """Everything that the configuration of a repository follows from, except the graphs' hashes.

    Attributes:
        model_name: the name users see, for example "starter".
        preprocessing: parameters of the one preprocessing; its `size_px` is the image size S.
        labels: (negative, positive) class, for example ("other", "covid").
        threshold: probability above which a film is called positive, in 0..1.
        notice: the sentence shown wherever a probability is shown.
        embedding_size: length of the vector that similar films are found by.
        max_batch_size: films that Triton may put into one inference.

    Raises:
        ValueError: a value that no repository can be made from.
    """

    model_name: str
    preprocessing: PreprocessingSpec
    labels: tuple[str, str]
    threshold: float
    notice: str
    embedding_size: int = 128
    max_batch_size: int = 16

    def __post_init__(self) -> None:
        if not self.model_name.strip():
            raise ValueError("model_name is empty")
        if len(self.labels) != 2 or len(set(self.labels)) != 2 or not all(self.labels):
            raise ValueError(f"labels must be two different names, not {self.labels!r}")
        if not 0.0 < self.threshold < 1.0:
            raise ValueError(f"threshold must lie between 0 and 1, not {self.threshold}")
        if not self.notice.strip():
            raise ValueError("notice is empty: say what the probabilities may be used for")
        if self.embedding_size < 1:
            raise ValueError(f"embedding_size must be positive, not {self.embedding_size}")
        if not 1 <= self.max_batch_size <= 64:
            raise ValueError(f"max_batch_size must lie in 1..64, not {self.max_batch_size}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, as `repository.json` holds them."""
        return {
            "model_name": self.model_name,
            "preprocessing": self.preprocessing.to_dict(),
            "labels": list(self.labels),
            "threshold": self.threshold,
            "notice": self.notice,
            "embedding_size": self.embedding_size,
            "max_batch_size": self.max_batch_size,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RepositorySpec:
        """Read what `to_dict` wrote; an unknown or missing key raises ValueError."""
        expected = set(cls.__dataclass_fields__)
        if set(values) != expected:
            raise ValueError(
                f"keys {sorted(set(values) ^ expected)} are unknown or missing in the spec"
            )
        fields = dict(values)
        fields["preprocessing"] = PreprocessingSpec.from_dict(fields["preprocessing"])
        fields["labels"] = tuple(fields["labels"])
        return cls(**fields)

    def edges(self, model: str) -> Edges:
        """Return the tensors at a model's edges.

        Args:
            model: one of GRAPHS, PREPROCESS or ENSEMBLE.
        """
        size = self.preprocessing.size_px
        image = Tensor("IMAGE", "STRING", (1,))
        cxr = Tensor("CXR", "FP32", (1, size, size))
        geometry = Tensor("GEOMETRY", "FP32", (8,))
        lungs = Tensor("LUNGS", "FP32", (1, size, size))
        embedding = Tensor("EMBEDDING", "FP32", (self.embedding_size,))
        cam_size = size // CAM_STRIDE
        cam = (cam_size, cam_size)
        judged = (
            Tensor("PROBABILITY", "FP32", (1,)),
            Tensor("MEMBERS", "FP32", (len(MEMBERS),)),
            Tensor("VOTES", "INT32", (1,)),
        )
        heatmap = Tensor("HEATMAP", "FP32", cam)
        if model == PREPROCESS:
            return Edges((image,), (cxr, geometry, Tensor("HEADER_FLAGS", "STRING", (1,))))
        if model == "segment":
            return Edges((cxr,), (lungs,))
        if model in MEMBERS:
            logits = Tensor("LOGITS", "FP32", (2,))
            return Edges((cxr, lungs), (logits, embedding, Tensor("CAM", "FP32", cam)))
        if model == "average":
            logits_of = tuple(Tensor(f"LOGITS_{name.upper()}", "FP32", (2,)) for name in MEMBERS)
            cams_of = tuple(Tensor(f"CAM_{name.upper()}", "FP32", cam) for name in MEMBERS)
            return Edges((*logits_of, *cams_of), (*judged, heatmap))
        if model == ENSEMBLE:
            flags = Tensor("FLAGS", "STRING", (1,))
            return Edges((image,), (*judged, embedding, heatmap, lungs, cxr, geometry, flags))
        raise ValueError(f"the repository has no model named {model!r}")
