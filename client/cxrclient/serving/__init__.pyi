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
    engines_command as engines_command,
    passport_faults as passport_faults,
    plan_faults as plan_faults,
    read_passport as read_passport,
)
from .tritonserver import data_path as data_path
