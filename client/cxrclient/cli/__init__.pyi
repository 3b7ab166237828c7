from .exits import errors_as_exit_codes as errors_as_exit_codes
from .operations.codes import (
    Code as Code,
    Format as Format,
    codes_of as codes_of,
    print_codes as print_codes,
)
from .options.every import (
    HELP_NAMES as HELP_NAMES,
    Version as Version,
    for_every_command as for_every_command,
)
from .output.progress import bar_columns as bar_columns, time_left as time_left
from .terminal import (
    Formatter as Formatter,
    cell as cell,
    console as console,
    say as say,
    say_if_interrupts_are_ignored as say_if_interrupts_are_ignored,
    terminal_program as terminal_program,
)
