from .results import (
    KINDS as KINDS,
    Results as Results,
    results_of as results_of,
    write as write,
)
