from .codestreams.damage import StreamDamaged as StreamDamaged
from .codestreams.jpeg import (
    FRAME_HEADERS as FRAME_HEADERS,
    NEEDED as NEEDED,
    START_OF_SCAN as START_OF_SCAN,
    jpeg_segments as jpeg_segments,
)
from .codestreams.jpeg2000 import (
    J2K_START as J2K_START,
    JP2_START as JP2_START,
    START_OF_TILE as START_OF_TILE,
    depth_byte as depth_byte,
    j2k_segments as j2k_segments,
    jp2_boxes as jp2_boxes,
)
from .codestreams.png import (
    bare_png as bare_png,
    is_animation as is_animation,
    png_chunks as png_chunks,
)
from .dicom_file import (
    PIXEL_DATA as PIXEL_DATA,
    DicomFile as DicomFile,
    ends_early as ends_early,
    fragment_spans as fragment_spans,
    open_file as open_file,
    pixel_value as pixel_value,
    raw_elements as raw_elements,
)
from .film import (
    Film as Film,
    Part as Part,
    Source as Source,
    path_of as path_of,
    read_film as read_film,
    read_parts as read_parts,
)
from .functional_groups import (
    FUNCTIONAL_GROUPS as FUNCTIONAL_GROUPS,
    items_of as items_of,
    refuse_long_values as refuse_long_values,
    with_functional_groups as with_functional_groups,
)
from .geometry import (
    LUNG_PROBABILITY as LUNG_PROBABILITY,
    FloatArray as FloatArray,
    Taps as Taps,
    lung_fraction as lung_fraction,
    require_plausible as require_plausible,
    resampled as resampled,
    sampled_on_film as sampled_on_film,
)
from .kinds import (
    HEAD_BYTES as HEAD_BYTES,
    file_kind as file_kind,
)
from .limits import (
    MAX_FILE_BYTES as MAX_FILE_BYTES,
    MAX_PIXELS as MAX_PIXELS,
    MAX_TILES as MAX_TILES,
    MAX_VALUE_BYTES as MAX_VALUE_BYTES,
    refuse_more as refuse_more,
)
from .pydicom_parts import read_partial as read_partial
from .search.file_list import read_paths as read_paths
from .search.film_search import (
    FILM_SUFFIXES as FILM_SUFFIXES,
    FilmSearch as FilmSearch,
    is_own_picture as is_own_picture,
    starts_as_own_picture as starts_as_own_picture,
)
from .stripping import IMAGE_TAGS as IMAGE_TAGS
from .transfer_syntaxes import (
    JPEG_2000 as JPEG_2000,
    JPEG_LOSSLESS as JPEG_LOSSLESS,
    JPEG_LOSSY as JPEG_LOSSY,
    JPEG_LS as JPEG_LS,
    LOSSLESS as LOSSLESS,
    RLE as RLE,
    SYNTAXES as SYNTAXES,
)
