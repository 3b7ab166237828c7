from .notes import NOTES as NOTES
from .options import (
    NodeOptions as NodeOptions,
    TlsFiles as TlsFiles,
)
from .pull.address import open_pacs as open_pacs
from .pull.pacs import (
    RADIOGRAPHS as RADIOGRAPHS,
    Wanted as Wanted,
)
from .pull.pull import (
    Pull as Pull,
    Pulled as Pulled,
)
