from .notes import NOTES as NOTES
from .options import (
    NodeOptions as NodeOptions,
    TlsFiles as TlsFiles,
)
