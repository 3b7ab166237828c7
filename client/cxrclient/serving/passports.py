"""What an engine passport says, and whether a repository's TensorRT plans may be served.

`cxrexport engines` writes `engine.json` beside each `model.plan`. A plan itself is opaque: it does
not say which graph it is of, and TensorRT refuses a wrong one only when the server loads it.
`cxrexport check`, `cxrclient doctor` and `cxrclient serve` all judge by this module, so they use
the same words.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cxrclient.files import parse_json
from cxrclient.serving.machine import Gpu

__all__ = [
    "BARS",
    "COSINE_BAR",
    "DICE_BAR",
    "FINER",
    "PASSPORT",
    "PLAN",
    "PROBABILITY_BAR",
    "Fault",
    "Parity",
    "Passport",
    "PassportUnreadable",
    "engines_command",
    "passport_faults",
    "plan_faults",
    "read_passport",
    "served_graphs",
    "sha256_of",
    "unverified_plans",
]

PLAN = "model.plan"
PASSPORT = "engine.json"
FORMAT = 2
"""1 lacks the rules of the network, and what was found of lungs and gate; it is still read."""
RULES = 2
"""By which fp16 and bf16 networks are made of the graphs: since 2, what sums over a plane is fp32
(docs/adr/0012)."""

PROBABILITY_BAR = 5e-3
"""The most by which an engine may move a probability; the project's own bar."""
COSINE_BAR = 0.999
"""The least cosine between an engine's embedding and the fp32 graph's; the project's own bar."""
DICE_BAR = 0.995
"""The least Dice coefficient between an engine's lungs (LUNGS above 0.5) and the fp32 graph's, of
any film; the project's own bar, between rounding to fp16 (docs/adr/0012) and two readers of one
film: 0.972. Source: van Ginneken et al., Med Image Anal 2006 (overlap 0.946 on JSRT)."""
BARS = (
    f"|Δp| {PROBABILITY_BAR:g}, cosine {COSINE_BAR:g} or Dice of the lungs {DICE_BAR:g}, or in a "
    f"label or a flag of the gate"
)
"""Reads on after `differs by more than`."""
FINER = {"bf16": "fp16", "fp16": "fp32", "fp32": "fp32"}
"""What to take where a precision is outside these bars. fp16 keeps more digits than bf16."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Largest differences to the fp32 graphs in ONNX Runtime, over whole films.

    Attributes:
        films: how many it was measured on.
        probability: |Δ| of the ensemble's, 0..1.
        members: |Δ| of any member's probability, 0..1.
        embedding_cosine: the least between the two embeddings of a film.
        lungs: |Δ| of LUNGS at any pixel, 0..1.
        heatmap: |Δ| of HEATMAP at any element, 0..1.
        labels_changed: films on the other side of the served threshold.
        lungs_dice: the least of any film, of LUNGS above 0.5; None where it was not measured.
        flags_changed: films of which the gate says something else; None where it was not asked.
        real_films: how many of the films were taken of a person; None where nothing tells.
    """

    films: int
    probability: float
    members: float
    embedding_cosine: float
    lungs: float
    heatmap: float
    labels_changed: int
    lungs_dice: float | None = None
    flags_changed: int | None = None
    real_films: int | None = None

    @property
    def complete(self) -> bool:
        """Whether everything that has a bar was measured; before format 2 it was not."""
        return self.lungs_dice is not None and self.flags_changed is not None

    @property
    def passed(self) -> bool:
        """Whether all that was measured is within the bars; NaN is not."""
        return (
            self.probability <= PROBABILITY_BAR
            and self.embedding_cosine >= COSINE_BAR
            and (self.lungs_dice is None or self.lungs_dice >= DICE_BAR)
            and self.labels_changed == 0
            and not self.flags_changed
        )

    def __str__(self) -> str:
        dice = "" if self.lungs_dice is None else f" (Dice {self.lungs_dice:.4f})"
        changed = f"{self.labels_changed} labels"
        if self.flags_changed is not None:
            changed += f" and the flags of {self.flags_changed} films"
        real = "" if self.real_films is None else f" ({self.real_films} real)"
        return (
            f"|Δp| {self.probability:.1e}, embedding's cosine {self.embedding_cosine:.6f}, "
            f"|Δ| of LUNGS {self.lungs:.1e}{dice} and HEATMAP {self.heatmap:.1e}, {changed} "
            f"changed, over {self.films} films{real}"
        )


@dataclass(frozen=True, slots=True)
class Passport:
    """What one engine is.

    Attributes:
        graph: the model's name in the repository.
        engine_sha256: of the plan or engine file, hex.
        onnx_sha256: of the model.onnx that it was built from, hex.
        network_sha256: of the mixed-precision ONNX that TensorRT read, hex.
        flavour: `tensorrt` or `tensorrt-rtx`.
        tensorrt_version: of the library that built it.
        architecture: as asked for: `current`, `ampere+`, `sm89` …
        compute_capability: of the GPU it is for, such as `8.9`; None if nothing told.
        gpu: the name of the GPU it was built on; None if on none.
        precision: `fp16`, `bf16` or `fp32`, as asked for the convolutions; the U-Net's are fp16
            where bf16 was asked for (docs/adr/0012).
        profile: input → its shapes as `min`, `preferred`, `max`, batch first.
        max_batch: films in one inference at most.
        engine_bytes: size of the file.
        build_s: how long TensorRT took.
        built_at: UTC, ISO 8601.
        parity: of the engines on a GPU; None where none could run them.
        parity_reason: why there is no parity.
        parity_engines: graph → sha256 of the engines that parity was measured with.
        emulated_parity: of the mixed-precision ONNX in ONNX Runtime on the CPU, each operation's
            result rounded to the engine's precision.
        emulated_parity_reason: why there is none.
        rules: by which the network was made of the graph; see RULES.
    """

    graph: str
    engine_sha256: str
    onnx_sha256: str
    network_sha256: str
    flavour: str
    tensorrt_version: str
    architecture: str
    compute_capability: str | None
    gpu: str | None
    precision: str
    profile: Mapping[str, Mapping[str, Sequence[int]]]
    max_batch: int
    engine_bytes: int
    build_s: float
    built_at: str
    parity: Parity | None = None
    parity_reason: str | None = None
    parity_engines: Mapping[str, str] | None = None
    emulated_parity: Parity | None = None
    emulated_parity_reason: str | None = None
    rules: int = RULES

    def to_json(self) -> str:
        """Return the file's content."""
        content = {"format": FORMAT, **asdict(self)}
        content["bars"] = {
            "probability": PROBABILITY_BAR,
            "embedding_cosine": COSINE_BAR,
            "lungs_dice": DICE_BAR,
            "labels_changed": 0,
            "flags_changed": 0,
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


class PassportUnreadable(ValueError):
    """A passport that is missing or damaged; its text reads on after the file's name."""


def read_passport(path: Path) -> Passport:
    """Read an engine passport.

    Raises:
        PassportUnreadable: it is not there, damaged, or of a later format.
    """
    try:
        content = parse_json(path.read_bytes())
        found = content.pop("format")
        if found not in (1, FORMAT):
            raise PassportUnreadable(f"has format {found}, this version reads {FORMAT}")
        content.pop("bars", None)
        content.setdefault("rules", 1)
        for name in ("parity", "emulated_parity"):
            if content[name] is not None:
                content[name] = Parity(**content[name])
        return Passport(**content)
    except FileNotFoundError as error:
        raise PassportUnreadable("is missing") from error
    except PassportUnreadable:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise PassportUnreadable(f"cannot be read ({type(error).__name__}: {error})") from error


@dataclass(frozen=True, slots=True)
class Fault:
    """One reason not to serve a plan.

    Attributes:
        graph: the model.
        file: relative to the repository.
        what: is wrong with it; reads on after the file's name.
    """

    graph: str
    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file} {self.what}"


def served_graphs(repository: Path) -> list[str]:
    """Return the models whose GPU configuration names a TensorRT plan, in the order of names."""
    pattern = re.compile(rf'^default_model_filename: "{re.escape(PLAN)}"', re.MULTILINE)
    configs = sorted(repository.glob("*/config.pbtxt"))
    return [path.parent.name for path in configs if pattern.search(path.read_text("utf-8"))]


def plan_faults(
    repository: Path,
    gpus: Sequence[Gpu] = (),
    tensorrt_version: str | None = None,
    graphs: Sequence[str] | None = None,
) -> list[Fault]:
    """Compare every plan that is there with its passport, its graph, and this machine.

    A plan that is missing is no fault here: most machines need none.

    Args:
        repository: the model repository.
        gpus: of the machine that serves; empty where they are not known.
        tensorrt_version: of the server that loads the plans; None where it is not known.
        graphs: look at these; None takes every model that is configured to use a plan.
    """
    faults: list[Fault] = []
    for graph in served_graphs(repository) if graphs is None else graphs:
        folder = repository / graph / "1"
        if not (folder / PLAN).is_file():
            continue
        name = f"{graph}/1/{PLAN}"
        try:
            passport = read_passport(folder / PASSPORT)
        except PassportUnreadable as error:
            why = f"may be of any graph and GPU: its passport {PASSPORT} {error}"
            faults.append(Fault(graph, name, why))
            continue
        onnx, limit = folder / "model.onnx", _max_batch_size(repository)
        for what in passport_faults(passport, folder / PLAN, onnx, limit):
            faults.append(Fault(graph, name, what))
        for what in _machine_faults(passport, gpus, tensorrt_version):
            faults.append(Fault(graph, name, what))
    return faults


def passport_faults(
    passport: Passport, engine: Path, onnx: Path, max_batch: int | None = None
) -> Iterator[str]:
    """Say what is wrong between a passport, its engine and its graph, wherever it is served."""
    if onnx.is_file() and (found := sha256_of(onnx)) != passport.onnx_sha256:
        yield (
            f"was built from another graph: model.onnx has sha256 {found[:12]}…, the plan's had "
            f"{passport.onnx_sha256[:12]}…"
        )
    if sha256_of(engine) != passport.engine_sha256:
        yield f"is not the file that {PASSPORT} describes"
    if engine.name == PLAN and passport.flavour != "tensorrt":
        yield f"is a {passport.flavour} engine, which Triton cannot load"
    if max_batch is not None and passport.max_batch < max_batch:
        yield f"takes {passport.max_batch} films at once, the configuration sends {max_batch}"
    if passport.rules < RULES and passport.precision != "fp32":
        yield (
            f"is {passport.precision} by older rules, which let sums over a plane leave the range "
            f"of fp16"
        )
    parity = passport.parity
    if parity is not None and not parity.passed:
        yield f"differs from its graph by more than {BARS}: {parity}"


def _machine_faults(
    passport: Passport, gpus: Sequence[Gpu], tensorrt_version: str | None
) -> Iterator[str]:
    for gpu in gpus:
        found, built = gpu.compute_capability, passport.compute_capability
        if passport.architecture == "ampere+":
            if int(found.split(".")[0]) < 8:
                yield f"is for Ampere and later GPUs; {gpu} is older"
        elif built is not None and found != built:
            where = f" ({passport.gpu})" if passport.gpu else ""
            yield f"is for compute capability {built}{where}; this machine has {gpu}"
    if tensorrt_version is not None and not _same_release(
        passport.tensorrt_version, tensorrt_version
    ):
        yield (
            f"was built by TensorRT {passport.tensorrt_version}; the server has {tensorrt_version},"
            f" and loads only its own"
        )


def unverified_plans(repository: Path) -> dict[str, str]:
    """Return graph → why its plan's answers were never compared with the graph's.

    Plans with faults, or without a passport, are not in it: they are wrong, not unverified.
    """
    plans = {graph: repository / graph / "1" / PLAN for graph in served_graphs(repository)}
    engines = {graph: sha256_of(path) for graph, path in plans.items() if path.is_file()}
    doubts = {}
    for graph in engines:
        try:
            passport = read_passport(plans[graph].with_name(PASSPORT))
        except PassportUnreadable:
            continue
        if passport.parity is None:
            doubts[graph] = passport.parity_reason or "no reason given"
        elif dict(passport.parity_engines or {}) != engines:
            doubts[graph] = "parity was measured together with other engines than lie here now"
        elif not passport.parity.complete:
            doubts[graph] = "parity was measured without the lungs' Dice and the gate's flags"
    return doubts


def engines_command(repository: Path, precision: str | None = None) -> str:
    """Return the command that builds the plans that are missing or wrong, for a shell.

    Args:
        repository: the model repository.
        precision: of the plans; None takes that of the plans that are there, so that those that fit
            are kept, or the next better one where theirs was too coarse.
    """
    precision = precision or _precision_to_take(repository)
    words = ["cxrexport", "engines", "--repository", str(repository), "--flavour", "tensorrt"]
    if precision not in (None, "fp16"):
        words += ["--precision", str(precision)]
    return shlex.join(words)


def _precision_to_take(repository: Path) -> str | None:
    found = None
    for graph in served_graphs(repository) if repository.is_dir() else ():
        try:
            passport = read_passport(repository / graph / "1" / PASSPORT)
        except PassportUnreadable:
            continue
        if passport.parity is not None and not passport.parity.passed:
            return FINER.get(passport.precision)
        found = found or passport.precision
    return found


def sha256_of(path: Path) -> str:
    """Return a file's sha256, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _max_batch_size(repository: Path) -> int | None:
    """The films that Triton may send at once; None where the repository does not say."""
    try:
        content = parse_json((repository / "repository.json").read_bytes())
        return int(content["spec"]["max_batch_size"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _same_release(one: str, other: str) -> bool:
    """Whether two TensorRT versions are equal as far as both go, patch included."""
    first, second = one.split("."), other.split(".")
    known = min(len(first), len(second), 3)
    return first[:known] == second[:known]
