from .csv_cells import (
    MAX_AGE_YEARS as MAX_AGE_YEARS,
    as_age as as_age,
    as_number as as_number,
    as_sex as as_sex,
)
from .csv_file import (
    CsvWriter as CsvWriter,
    csv_text as csv_text,
    read_cell as read_cell,
)
from .csv_table import (
    CsvFault as CsvFault,
    CsvRecord as CsvRecord,
    CsvTable as CsvTable,
    read_table as read_table,
)
from .digest import sha256_of as sha256_of
from .documents import (
    parse_json as parse_json,
    parse_yaml as parse_yaml,
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
    NoRegularFile as NoRegularFile,
    open_regular as open_regular,
    read_regular as read_regular,
)
from .whole import (
    PART as PART,
    beside as beside,
    cannot_write as cannot_write,
    new_private as new_private,
    private as private,
    private_folder as private_folder,
    replacing as replacing,
    write_beside as write_beside,
    write_whole as write_whole,
)
