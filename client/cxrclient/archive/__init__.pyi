from .archive_key import (
    bind_key as bind_key,
    has_its_key as has_its_key,
    key_of as key_of,
)
from .checks import (
    ArchiveFault as ArchiveFault,
    ArchiveStats as ArchiveStats,
    fault_meanings as fault_meanings,
    stats as stats,
    verify as verify,
)
from .clear_uids import without_uids as without_uids
from .empty_answer import (
    asked_columns as asked_columns,
    require_values as require_values,
    why_empty as why_empty,
)
from .identity import (
    archive_id as archive_id,
    load_patient_key as load_patient_key,
    names_somebody as names_somebody,
    patient_key as patient_key,
    patient_key_place as patient_key_place,
    same_patient_id as same_patient_id,
)
from .index import SimilarityIndex as SimilarityIndex
from .mending import (
    Mended as Mended,
    mend as mend,
    mend_file as mend_file,
    verify_file as verify_file,
)
from .metadata import (
    FilmMetadata as FilmMetadata,
    match_films as match_films,
    read_metadata as read_metadata,
)
from .milvus.filters import Filter as Filter
from .milvus.imported import (
    import_lightly as import_lightly,
    importing_lightly as importing_lightly,
)
from .milvus.layout import NEWEST_FORMAT as NEWEST_FORMAT
from .milvus.rows import (
    EMBEDDING_SIZE as EMBEDDING_SIZE,
    Added as Added,
    ArchivedFilm as ArchivedFilm,
    Neighbour as Neighbour,
)
from .milvus.tls import Tls as Tls
from .neighbours import (
    Consensus as Consensus,
    consensus as consensus,
)
from .own import own_films as own_films
from .parquet import (
    check_name as check_name,
    export_parquet as export_parquet,
    import_parquet as import_parquet,
    model_digest as model_digest,
)
from .removal import (
    damaged_rows as damaged_rows,
    remove as remove,
)
from .selection import (
    films_matching as films_matching,
    ids_as_kept as ids_as_kept,
    ids_matching as ids_matching,
    ids_of_patients as ids_of_patients,
    ids_there as ids_there,
    patient_keys as patient_keys,
)
