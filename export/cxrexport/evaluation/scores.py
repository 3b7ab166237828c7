"""What trained networks say of films: the one table that every analysis reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cxrexport.ensemble import DEFAULT_MEMBERS, embedder_of
from cxrexport.manifest import FilmRow

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

COMPARISON = ("resnet34", "resnet50", "resnet50-plain", "resnet152", "vgg16", "densenet121")
"""The rows of the study's Table 2; `resnet50-plain` is ResNet50 without preprocessing."""


@dataclass(frozen=True, eq=False)
class Scores:
    """What one trained set of networks says of N films.

    Attributes:
        films: the rows, N.
        labels: negative and positive class.
        margins: network → logit of the positive class minus that of the negative one, [N].
            Probabilities follow from it and a temperature.
        embedding: float32 [N, D], the layer before the output of `embedder`; None where that was
            not trained.
        heat_in_lungs: share of the heatmap inside the lungs, [N] in 0..1, NaN where the heatmap
            is empty; None where it was not computed.
        lung_share: share of the network's input that is lung, [N] in 0..1; None likewise.
        blanked: intervention (a key of `blanking.INTERVENTIONS`) → network → margin [N].
        listed: the ensemble's members as its recipe or repository lists them, trained or not.
    """

    films: tuple[FilmRow, ...]
    labels: tuple[str, str]
    margins: Mapping[str, Floats]
    embedding: npt.NDArray[np.float32] | None = None
    heat_in_lungs: Floats | None = None
    lung_share: Floats | None = None
    blanked: Mapping[str, Mapping[str, Floats]] = field(default_factory=dict)
    listed: tuple[str, ...] = DEFAULT_MEMBERS

    def __len__(self) -> int:
        return len(self.films)

    @property
    def truth(self) -> Flags:
        """Whether each film is of the positive class, [N]."""
        return np.array([film.label == self.labels[1] for film in self.films], dtype=bool)

    @property
    def patients(self) -> npt.NDArray[np.str_]:
        """Each film's patient, [N]."""
        return np.array([film.patient_id for film in self.films], dtype=str)

    @property
    def members(self) -> tuple[str, ...]:
        """The ensemble's networks that were trained, in their order."""
        return tuple(name for name in self.listed if name in self.margins)

    @property
    def embedder(self) -> str:
        """The network whose embeddings these are."""
        return embedder_of(self.listed)

    def probability(
        self, network: str, temperature: float = 1.0, *, blanked: str | None = None
    ) -> Floats:
        """Probability of the positive class by one network, [N] in 0..1.

        Args:
            network: a key of `margins`.
            temperature: that the logits are divided by.
            blanked: the intervention under which the film was judged; None for the whole film.
        """
        margins = self.margins if blanked is None else self.blanked[blanked]
        return sigmoid(margins[network] / temperature)

    def ensemble(
        self, temperatures: Mapping[str, float] | None = None, *, blanked: str | None = None
    ) -> Floats:
        """Mean of the members' probabilities, [N] in 0..1."""
        temperatures = temperatures or {}
        each = [
            self.probability(name, temperatures.get(name, 1.0), blanked=blanked)
            for name in self.members
        ]
        mean: Floats = np.mean(each, axis=0)
        return mean

    def take(self, index: Sequence[int] | npt.NDArray[np.int_] | Flags) -> Scores:
        """The scores of some films: positions, or a mask [N]."""
        chosen = np.asarray(index)
        if chosen.dtype == bool:
            chosen = np.flatnonzero(chosen)

        def part(values: Floats | None) -> Floats | None:
            return None if values is None else values[chosen]

        return Scores(
            films=tuple(self.films[i] for i in chosen),
            labels=self.labels,
            margins={name: margin[chosen] for name, margin in self.margins.items()},
            embedding=None if self.embedding is None else self.embedding[chosen],
            heat_in_lungs=part(self.heat_in_lungs),
            lung_share=part(self.lung_share),
            blanked={
                what: {name: margin[chosen] for name, margin in margins.items()}
                for what, margins in self.blanked.items()
            },
            listed=self.listed,
        )


@dataclass(frozen=True, eq=False)
class Trial:
    """One trained set of networks, and what it says of each split's films.

    Attributes:
        name: for tables, for example `fold 1` or `split 03`.
        train: films that the networks learnt from; None where they were not scored.
        validation: films that the epochs were chosen by; None likewise.
        test: films that the networks never saw.
    """

    name: str
    train: Scores | None
    validation: Scores | None
    test: Scores


@dataclass(frozen=True, eq=False)
class Evidence:
    """All trials of a study; one trial where a single run is evaluated.

    Attributes:
        labels: negative and positive class.
        trials: at least one.
        folds: whether the test sets are disjoint, so that each film has one prediction by
            networks that never saw it (cross-validation), and pooling them counts no film twice.
    """

    labels: tuple[str, str]
    trials: tuple[Trial, ...]
    folds: bool

    @property
    def pooled(self) -> Scores:
        """The test films of all trials, one after the other.

        In random splits a film may be there more than once. Embeddings of different trials are
        not comparable: look at them within a trial.
        """
        return concatenate([trial.test for trial in self.trials])


def sigmoid(margin: Floats) -> Floats:
    """1 / (1 + exp(-margin)), without overflow."""
    from scipy.special import expit

    value: Floats = expit(margin)
    return value


def log_odds(probability: Floats) -> Floats:
    """The margin of a probability, [N]; finite also where that is 0 or 1 to the last digit."""
    from scipy.special import logit

    value: Floats = logit(np.clip(probability, 1e-15, 1 - 1e-15))
    return value


def concatenate(parts: Sequence[Scores]) -> Scores:
    """Join scores; keeps the networks and interventions that all parts have."""
    first = parts[0]

    def joined(values: Sequence[Floats | None]) -> Floats | None:
        there = [value for value in values if value is not None]
        return np.concatenate(there) if len(there) == len(parts) else None

    networks = [name for name in first.margins if all(name in p.margins for p in parts)]
    blanked = [what for what in first.blanked if all(what in p.blanked for p in parts)]
    return Scores(
        films=tuple(film for part in parts for film in part.films),
        labels=first.labels,
        margins={name: np.concatenate([p.margins[name] for p in parts]) for name in networks},
        embedding=(
            np.concatenate([p.embedding for p in parts if p.embedding is not None])
            if all(p.embedding is not None for p in parts)
            else None
        ),
        heat_in_lungs=joined([part.heat_in_lungs for part in parts]),
        lung_share=joined([part.lung_share for part in parts]),
        blanked={
            what: {
                name: np.concatenate([p.blanked[what][name] for p in parts])
                for name in networks
                if all(name in p.blanked[what] for p in parts)
            }
            for what in blanked
        },
        listed=first.listed,
    )
