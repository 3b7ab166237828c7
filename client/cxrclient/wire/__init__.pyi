from .address import (
    checked_address as checked_address,
    is_loopback as is_loopback,
)
from .async_client import (
    TENSORS as TENSORS,
    AsyncCxrClient as AsyncCxrClient,
)
from .client import (
    CxrClient as CxrClient,
    Traffic as Traffic,
)
from .ensemble import Finding as Finding
from .line import Line as Line
from .loop import submit as submit
from .prediction import (
    EnsembleInfo as EnsembleInfo,
    Prediction as Prediction,
    failure_record as failure_record,
    maps_of as maps_of,
    prediction_from_answer as prediction_from_answer,
    shortest_float as shortest_float,
)
from .request import infer_request as infer_request
from .transport import (
    ServedModel as ServedModel,
    Transport as Transport,
)
