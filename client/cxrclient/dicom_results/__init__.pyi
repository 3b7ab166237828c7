from .results import (
    KINDS as KINDS,
    Results as Results,
    results_of as results_of,
    write as write,
)
from .study import (
    MANUFACTURER as MANUFACTURER,
    read_film_header as read_film_header,
)
