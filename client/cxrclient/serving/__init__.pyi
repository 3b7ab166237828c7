from .device import CpuPrecision as CpuPrecision
from .doctor import (
    Check as Check,
    examine as examine,
)
from .embedded import EmbeddedServer as EmbeddedServer
from .machine import (
    Gpu as Gpu,
    cpu as cpu,
    driver_lack as driver_lack,
    gpus as gpus,
    tensorrt_versions as tensorrt_versions,
)
from .passports import (
    BARS as BARS,
    FINER as FINER,
    PASSPORT as PASSPORT,
    PLAN as PLAN,
    Parity as Parity,
    Passport as Passport,
    PassportUnreadable as PassportUnreadable,
    passport_faults as passport_faults,
    read_passport as read_passport,
)
from .plans import engines_command as engines_command
from .record import (
    RECORD as RECORD,
    model_digest as model_digest,
    read_admission as read_admission,
    read_record as read_record,
)
from .repository import (
    Fault as Fault,
    generated_faults as generated_faults,
    repository_faults as repository_faults,
)
from .resources import (
    disk_of as disk_of,
    examine_room as examine_room,
)
from .shipped import (
    find_repository as find_repository,
    no_repository as no_repository,
    own_repository as own_repository,
    shipped_repositories as shipped_repositories,
)
from .tritonserver import data_path as data_path
