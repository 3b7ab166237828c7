from .film import (
    HEAD_BYTES as HEAD_BYTES,
    MAX_FILE_BYTES as MAX_FILE_BYTES,
    Buffer as Buffer,
    Film as Film,
    Part as Part,
    file_kind as file_kind,
    read_film as read_film,
    read_parts as read_parts,
)
from .geometry import (
    LUNG_PROBABILITY as LUNG_PROBABILITY,
    FloatArray as FloatArray,
    lung_fraction as lung_fraction,
    require_plausible as require_plausible,
    sampled_on_film as sampled_on_film,
)
from .pydicom_parts import read_partial as read_partial
from .sources import (
    FilmSearch as FilmSearch,
    is_own_picture as is_own_picture,
)
