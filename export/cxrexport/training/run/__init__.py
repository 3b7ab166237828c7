"""A run: its folder, what its networks began from, and which films they learnt from."""

from __future__ import annotations

from cxrexport.training.run.folder import NETWORKS, NetworkFolder, Run, read_json
from cxrexport.training.run.initial import initial_run, start_afresh, start_from, take_over_lungs
from cxrexport.training.run.learnt import films_learnt_from, note_films, problems_of_learnt_films
from cxrexport.training.run.lungs import STARTER, GivenLungs, given_lungs, note_of_run
from cxrexport.training.run.origin import (
    Origin,
    inherit_origin,
    note_origin,
    origin_of,
    origins_in_words,
)
from cxrexport.weights import weights_digest

__all__ = [
    "NETWORKS",
    "STARTER",
    "GivenLungs",
    "NetworkFolder",
    "Origin",
    "Run",
    "films_learnt_from",
    "given_lungs",
    "inherit_origin",
    "initial_run",
    "note_films",
    "note_of_run",
    "note_origin",
    "origin_of",
    "origins_in_words",
    "problems_of_learnt_films",
    "read_json",
    "start_afresh",
    "start_from",
    "take_over_lungs",
    "weights_digest",
]
