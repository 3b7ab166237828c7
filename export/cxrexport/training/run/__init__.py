"""A run: its folder, what its networks began from, and which films they learnt from."""

from __future__ import annotations

from cxrexport.training.run.folder import (
    NETWORKS as NETWORKS,
    NetworkFolder as NetworkFolder,
    Run as Run,
    read_json as read_json,
)
from cxrexport.training.run.initial import (
    initial_run as initial_run,
    start_afresh as start_afresh,
    start_from as start_from,
    take_over_lungs as take_over_lungs,
)
from cxrexport.training.run.learnt import (
    SPLITS as SPLITS,
    draw_splits as draw_splits,
    films_learnt_from as films_learnt_from,
    note_films as note_films,
    problems_of_learnt_films as problems_of_learnt_films,
    splits_in_words as splits_in_words,
    splits_of_runs as splits_of_runs,
)
from cxrexport.training.run.lungs import (
    STARTER as STARTER,
    GivenLungs as GivenLungs,
    given_lungs as given_lungs,
    note_of_run as note_of_run,
)
from cxrexport.training.run.origin import (
    Origin as Origin,
    inherit_origin as inherit_origin,
    note_origin as note_origin,
    origin_of as origin_of,
    origins_in_words as origins_in_words,
)
from cxrexport.weights import weights_digest as weights_digest
