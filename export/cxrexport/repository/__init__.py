"""The Triton model repository: written from a typed spec, and checked against it."""

from cxrexport.repository.check import (
    PlanNeeded as PlanNeeded,
    check_repository as check_repository,
    graphs_can_be_opened as graphs_can_be_opened,
    plans_needed as plans_needed,
    read_repository as read_repository,
)
from cxrexport.repository.licences import (
    LICENCES as LICENCES,
    write_licences as write_licences,
)
from cxrexport.repository.reference import (
    REFERENCE as REFERENCE,
    ServedReference as ServedReference,
)
from cxrexport.repository.spec import (
    ADMISSION as ADMISSION,
    ENSEMBLE as ENSEMBLE,
    PREPROCESS as PREPROCESS,
    Edges as Edges,
    RepositorySpec as RepositorySpec,
    ServedCalibration as ServedCalibration,
    ServedPoint as ServedPoint,
    Tensor as Tensor,
    Weights as Weights,
)
from cxrexport.repository.write import (
    graph_files as graph_files,
    graph_hashes as graph_hashes,
    model_digest as model_digest,
    write_repository as write_repository,
)
