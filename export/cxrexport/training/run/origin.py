"""The checkpoint that a network began from (`--pretrained`), noted beside it in `origin.json`.

Its licence and provenance, where they are known, are noted too, and travel from here into
repositories and reports. A training cannot go on from other weights than it was begun with, and a
report can say what the networks knew before they saw a film, whoever asks for it and however much
later.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cxrclient.files import sha256_of, write_whole
from cxrexport.errors import RecipeError
from cxrexport.training.processes import is_first
from cxrexport.training.run.folder import Run, read_json
from cxrexport.training.run.initial import initial_of
from cxrexport.weights import IMAGENET_URLS, TORCHVISION, facts_of


@dataclass(frozen=True)
class Origin:
    """A checkpoint.

    Attributes:
        source: `imagenet`, or the file's name without its folder.
        sha256: of the file; of torchvision's the first eight digits, which its name ends with.
        freeze: `features` if `--freeze` said that only the head learns.
        attribution: what it is, by whom, under which licence, in one line; None where not known.
        provenance: where it was taken from, and what was done to it.
        notice: the licence and the above, as they are to be passed on; Markdown.
    """

    source: str
    sha256: str
    freeze: str | None = None
    attribution: str | None = field(default=None, compare=False)
    provenance: str | None = field(default=None, compare=False)
    notice: str | None = field(default=None, compare=False)

    def __str__(self) -> str:
        frozen = ", features frozen" if self.freeze else ""
        licence = f", {self.attribution}" if self.attribution else ""
        return f"{self.source} ({self.sha256[:12]}{licence}{frozen})"

    @classmethod
    def of(cls, network: str, source: str) -> Origin:
        """What `--pretrained` names; the file must be there."""
        if source == "imagenet":
            url, known = IMAGENET_URLS[network], TORCHVISION
            sha256 = url.removesuffix(".pth").rsplit("-", 1)[1]
            return cls(source, sha256, None, known.attribution, url, known.notice(network, url))
        path, facts = Path(source), facts_of(Path(source))
        told = (facts.attribution, facts.provenance, facts.notice) if facts else ()
        return cls(path.name, sha256_of(path), None, *told)


def origin_of(run: Run, network: str) -> Origin | None:
    """Return what a network began from; None if from scratch, another run, or not begun."""
    known = run.folder(network).origin
    return Origin(**read_json(known)) if known.is_file() else None


def note_origin(run: Run, network: str, origin: Origin | None) -> None:
    """Write down what a network begins from.

    Raises:
        RecipeError: it was begun from something else.
    """
    folder, known = run.folder(network), origin_of(run, network)
    if folder.begun and known != origin:
        raise RecipeError(
            f"{folder.path} was begun from {known or 'no checkpoint'}; now {network} would start "
            f"from {origin or 'none'}. Give the same --pretrained again, choose another --output, "
            "or delete that folder."
        )
    if not is_first():
        return
    if origin is None:
        folder.origin.unlink(missing_ok=True)
        return
    folder.path.mkdir(parents=True, exist_ok=True)
    write_whole(folder.origin, json.dumps(asdict(origin), indent=2) + "\n")


def inherit_origin(run: Run, network: str, other: Run) -> None:
    """Note what another run's network began from beside one that starts from it (`--init`)."""
    theirs, ours = other.folder(network).origin, run.folder(network).origin
    if not is_first():
        return
    if theirs.is_file():
        write_whole(ours, theirs.read_bytes())
    else:
        ours.unlink(missing_ok=True)


def origins_in_words(networks: Iterable[tuple[str, Run, str]]) -> str:
    """Say what networks began from, those that began alike together.

    Args:
        networks: what to call each, its run, and its name there.
    """
    began: dict[str, list[str]] = {}
    for called, run, name in networks:
        origin, initial = origin_of(run, name), initial_of(run, name)
        began_from = [f"run {initial.run}"] if initial else []
        began_from += [str(origin)] if origin else []
        start = ", which began from ".join(began_from) or "from scratch"
        alike = began.setdefault(start, [])
        if called not in alike:
            alike.append(called)
    if len(began) == 1:
        return next(iter(began))
    return "; ".join(f"{', '.join(alike)}: {start}" for start, alike in began.items())
