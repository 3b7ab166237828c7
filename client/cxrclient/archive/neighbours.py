"""What the nearest films say together, and how they are gathered one a patient."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from cxrclient.archive.milvus.rows import Neighbour

# Asks Milvus: (how many, ids to leave out, patients to leave out) → films in any order.
Ask = Callable[[int, Collection[str], Collection[str]], list[Neighbour]]


@dataclass(frozen=True)
class Consensus:
    """What neighbours say together, and how much they disagree.

    Attributes:
        films: how many of them have a prediction.
        mean_probability: mean of their predictions, 0..1.
        spread: standard deviation of their predictions (of these films, so by n), 0..0.5. 0 means
            that they agree.
        share_positive: of the predictions above the threshold, 0..1; near a half they disagree.
        labels: label → how many have it, true or predicted, the most frequent first.
    """

    films: int
    mean_probability: float
    spread: float
    share_positive: float
    labels: Mapping[str, int] = field(default_factory=dict, hash=False)


def consensus(neighbours: Iterable[Neighbour], threshold: float = 0.5) -> Consensus | None:
    """What `neighbours` say together; None where none of them has a prediction.

    Args:
        neighbours: of a search.
        threshold: above which a prediction is positive: the server's, `cxr.model.threshold`.

    Source: the paper's second classifier, nearest training films' mean *prediction*, k = 4.
    """
    films = list(neighbours)
    known = [n.probability for n in films if n.probability is not None]
    if not known:
        return None
    mean = math.fsum(known) / len(known)
    return Consensus(
        films=len(known),
        mean_probability=mean,
        spread=math.sqrt(math.fsum((p - mean) ** 2 for p in known) / len(known)),
        share_positive=sum(p > threshold for p in known) / len(known),
        labels=dict(Counter(n.label for n in films if n.label).most_common()),
    )


def nearest(
    ask: Ask,
    k: int,
    answer_max: int,
    *,
    one_per_patient: bool,
    without_ids: Collection[str] = (),
    without_patients: Collection[str] = (),
) -> list[Neighbour]:
    """The `k` nearest films in ascending order of distance, equal ones by id.

    Milvus cannot group by patient (Lite) and picks at will among films at the same distance. So
    films are taken only while they are nearer than the last one that it gave: of those, all are
    known. Then it is asked again without them and their patients, until there are `k` or no more.

    What comes back is checked again: no filter, and no fault of Milvus, lets a film in that was to
    be left out, or a second one of a patient.

    Args:
        ask: gives the films nearest to the query.
        k: how many.
        answer_max: the most that `ask` can give.
        one_per_patient: the nearest film of each patient; films without one stand for themselves.
        without_ids: films to leave out.
        without_patients: keys of patients to leave out.
    """
    taken: list[Neighbour] = []
    ids, patients = set(without_ids), set(without_patients)
    limit = min((2 * k if one_per_patient else k) + 8, answer_max)
    while len(taken) < k:
        alone = [n.id for n in taken if not (one_per_patient and n.patient_key)]
        found = sorted(
            ask(limit, [*without_ids, *alone], patients), key=lambda n: (n.distance, n.id)
        )
        is_all = len(found) < limit
        certain = found if is_all else [n for n in found if n.distance < found[-1].distance]
        if not certain and limit == answer_max:
            certain, is_all = found, True  # thousands at one distance: no order is the right one
        before = len(taken)
        for film in certain:
            if film.id in ids or film.patient_key in patients:
                continue
            ids.add(film.id)
            if one_per_patient and film.patient_key:
                patients.add(film.patient_key)
            taken.append(film)
        if is_all or (limit == answer_max and len(taken) == before):
            break
        limit = min(2 * limit, answer_max)
    return taken[:k]
