from .archive.index import SimilarityIndex as SimilarityIndex
from .archive.milvus.rows import Neighbour as Neighbour
from .errors import (
    AccessDenied as AccessDenied,
    ArchiveError as ArchiveError,
    ArchiveInput as ArchiveInput,
    ArchiveMismatch as ArchiveMismatch,
    ArchiveUnavailable as ArchiveUnavailable,
    CxrClientError as CxrClientError,
    FilmError as FilmError,
    MetadataError as MetadataError,
    ServeFailed as ServeFailed,
    ServerError as ServerError,
    ServerUnfit as ServerUnfit,
    ServerUnreachable as ServerUnreachable,
    TlsFailed as TlsFailed,
    UsageError as UsageError,
)
from .films.film import Film as Film, read_film as read_film
from .runs.result_rows import to_dataframe as to_dataframe
from .serving.embedded import EmbeddedServer as EmbeddedServer
from .wire.address import Endpoint as Endpoint
from .wire.client import AsyncCxrClient as AsyncCxrClient, CxrClient as CxrClient
from .wire.ensemble import (
    EnsembleInfo as EnsembleInfo,
    ModelInfo as ModelInfo,
    OperatingPoint as OperatingPoint,
)
from .wire.prediction import Prediction as Prediction
from .wire.tls import Tls as Tls

IN_A_NOTEBOOK: str
__version__: str
