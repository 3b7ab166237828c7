from .csv_file import (
    CsvWriter as CsvWriter,
    csv_text as csv_text,
    read_cell as read_cell,
)
from .documents import (
    parse_json as parse_json,
    parse_yaml as parse_yaml,
)
from .lock import (
    only_one as only_one,
    open_alone as open_alone,
)
from .memory import keep_freed_memory as keep_freed_memory
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
