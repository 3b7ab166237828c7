from .check import check_node as check_node
from .network.tls import (
    client_context as client_context,
    server_context as server_context,
)
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
from .pull.pull import Pull as Pull
from .run import run_node as run_node
from .spool.look import (
    is_held as is_held,
    retry as retry,
    spool_status as spool_status,
)
from .watch.log import set_up as set_up
