from .address import (
    Endpoint as Endpoint,
    is_loopback as is_loopback,
    read_token as read_token,
)
from .admission import Admission as Admission
from .async_client import (
    TENSORS as TENSORS,
    AsyncCxrClient as AsyncCxrClient,
)
from .client import (
    CxrClient as CxrClient,
    Traffic as Traffic,
)
from .connection import Connection as Connection
from .ensemble import Finding as Finding
from .loop import submit as submit
from .prediction import (
    EnsembleInfo as EnsembleInfo,
    ModelInfo as ModelInfo,
    Prediction as Prediction,
    failure_record as failure_record,
    maps_of as maps_of,
    prediction_from_answer as prediction_from_answer,
    shortest_float as shortest_float,
    with_film as with_film,
)
from .request import (
    infer_request as infer_request,
    write_perf_data as write_perf_data,
)
from .tls import (
    Tls as Tls,
    require_pair as require_pair,
)
from .transport import (
    ServedModel as ServedModel,
    Transport as Transport,
)
