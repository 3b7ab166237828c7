from .archiving import (
    Archiving as Archiving,
    Kept as Kept,
    OtherPatient as OtherPatient,
    Repeated as Repeated,
    archive_films as archive_films,
)
from .embedding_proof import same_embeddings as same_embeddings
from .index_journal import (
    IndexJournal as IndexJournal,
    forget_films as forget_films,
    journal_path as journal_path,
)
from .journal import (
    Conditions as Conditions,
    FileIdentity as FileIdentity,
    JournaledResults as JournaledResults,
    file_identity as file_identity,
    open_results as open_results,
)
from .ledger import Ledger as Ledger
from .migration import (
    Migration as Migration,
    beside as beside,
    migrate as migrate,
    missing as missing,
    switch as switch,
    take_over as take_over,
)
from .result_rows import (
    result_columns as result_columns,
    result_record as result_record,
    result_row as result_row,
    to_dataframe as to_dataframe,
)
from .spool import Spool as Spool
from .stored import (
    StoredMaps as StoredMaps,
    not_archived as not_archived,
    prediction_of as prediction_of,
    require_stored as require_stored,
    stored_lines as stored_lines,
    stored_predictions as stored_predictions,
    without_header as without_header,
    write_maps as write_maps,
)
from .summary import (
    Outcome as Outcome,
    RunSummary as RunSummary,
    require_writable as require_writable,
    write_summary as write_summary,
)
