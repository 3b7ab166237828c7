from .decode import (
    decode_film as decode_film,
    decode_stored as decode_stored,
    stated_size as stated_size,
)
from .film import (
    DecodedFilm as DecodedFilm,
    StoredFilm as StoredFilm,
    refuse_constant as refuse_constant,
    taken as taken,
)
from .parts import nearest_part as nearest_part, thinned as thinned
from .quiet import quiet_pydicom as quiet_pydicom
from .worker import start_worker as start_worker
