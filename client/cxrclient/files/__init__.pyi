from .cells import (
    MAX_AGE_YEARS as MAX_AGE_YEARS,
    as_age as as_age,
    as_number as as_number,
    as_sex as as_sex,
    in_years as in_years,
)
from .csv_file import (
    CsvWriter as CsvWriter,
    csv_text as csv_text,
)
from .documents import (
    parse_json as parse_json,
    parse_yaml as parse_yaml,
)
from .hashing import (
    hmac_sha256_of as hmac_sha256_of,
    sha256_of as sha256_of,
    short_hash as short_hash,
)
from .lock import (
    only_one as only_one,
    open_alone as open_alone,
)
from .memory import (
    MemoryUse as MemoryUse,
    keep_freed_memory as keep_freed_memory,
)
from .regular import (
    FileTooLarge as FileTooLarge,
    HeldOpen as HeldOpen,
    NoRegularFile as NoRegularFile,
    OpenedPath as OpenedPath,
    open_regular as open_regular,
    read_opened as read_opened,
    read_regular as read_regular,
)
from .table import (
    MOST_ALIKE as MOST_ALIKE,
    Record as Record,
    TableFault as TableFault,
    fault_lines as fault_lines,
    faults_text as faults_text,
    scan_table as scan_table,
)
from .whole import (
    PART as PART,
    beside as beside,
    cannot_write as cannot_write,
    new_private as new_private,
    private as private,
    private_folder as private_folder,
    replacing as replacing,
    sync_folder as sync_folder,
    take_place as take_place,
    write_beside as write_beside,
    write_new as write_new,
    write_whole as write_whole,
)
