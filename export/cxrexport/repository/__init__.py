"""The Triton model repository: written from a typed spec, and checked against it."""

from cxrexport.repository.check import (
    PlanNeeded,
    check_repository,
    graphs_can_be_opened,
    plans_needed,
    read_repository,
)
from cxrexport.repository.licences import write_licences
from cxrexport.repository.reference import REFERENCE, ServedReference
from cxrexport.repository.spec import (
    ADMISSION,
    ENSEMBLE,
    PREPROCESS,
    Edges,
    RepositorySpec,
    ServedCalibration,
    ServedPoint,
    Tensor,
)
from cxrexport.repository.write import (
    graph_files,
    graph_hashes,
    model_digest,
    write_repository,
)

__all__ = [
    "ADMISSION",
    "ENSEMBLE",
    "PREPROCESS",
    "REFERENCE",
    "Edges",
    "PlanNeeded",
    "RepositorySpec",
    "ServedCalibration",
    "ServedPoint",
    "ServedReference",
    "Tensor",
    "check_repository",
    "graph_files",
    "graph_hashes",
    "graphs_can_be_opened",
    "model_digest",
    "plans_needed",
    "read_repository",
    "write_licences",
    "write_repository",
]
