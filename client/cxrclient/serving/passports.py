"""What an engine passport says, and whether it vouches for its plan.

`cxrexport engines` writes `engine.json` beside each `model.plan`. A plan itself is opaque: it does
not say which graph it is of, and TensorRT refuses a wrong one only when the server loads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cxrclient.files import parse_json, read_regular, sha256_of
from cxrclient.serving.machine import Gpu

PLAN = "model.plan"
PASSPORT = "engine.json"
MOST_BYTES = 1 << 24
"""Of a text file in a repository; nothing of ours has a hundredth."""
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
        # Readers of before ask for a flavour: there was a second one, which Triton never loaded.
        content = {"format": FORMAT, "flavour": "tensorrt", **asdict(self)}
        content["bars"] = {
            "probability": PROBABILITY_BAR,
            "embedding_cosine": COSINE_BAR,
            "lungs_dice": DICE_BAR,
            "labels_changed": 0,
            "flags_changed": 0,
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


class PassportUnreadable(ValueError):
    """A passport of no use: missing, damaged, of no plan. Its text follows the file's name."""


def read_passport(path: Path) -> Passport:
    """Read an engine passport.

    Raises:
        PassportUnreadable: it is not there, damaged, of a later format, or of TensorRT-RTX.
    """
    try:
        content = parse_json(read_regular(path, MOST_BYTES))
        found = content.pop("format")
        if found not in (1, FORMAT):
            raise PassportUnreadable(f"has format {found}, this version reads {FORMAT}")
        if (flavour := content.pop("flavour")) != "tensorrt":
            raise PassportUnreadable(f"is of a {flavour} engine, which Triton cannot load")
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


def passport_faults(
    passport: Passport, engine: Path, onnx: Path, max_batch: int | None = None
) -> Iterator[str]:
    """Say what is wrong between a passport, its engine and its graph, wherever it is served.

    Args:
        passport: of the engine.
        engine: its file.
        onnx: the graph that it should be of; not there where only the engine was copied.
        max_batch: films that the server may send at once; None where nothing says.
    """
    if onnx.is_file() and (found := sha256_of(onnx)) != passport.onnx_sha256:
        yield (
            f"was built from another graph: model.onnx has sha256 {found[:12]}…, the plan's had "
            f"{passport.onnx_sha256[:12]}…"
        )
    if sha256_of(engine) != passport.engine_sha256:
        yield f"is not the file that {PASSPORT} describes"
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


def machine_faults(
    passport: Passport, gpus: Sequence[Gpu], tensorrt_version: str | None
) -> Iterator[str]:
    """Say why this machine cannot load the plan.

    Args:
        passport: of the plan.
        gpus: of the machine; empty where they are not known.
        tensorrt_version: of its server; None where it is not known.
    """
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


def _same_release(one: str, other: str) -> bool:
    """Whether two TensorRT versions are equal as far as both go, patch included."""
    first, second = one.split("."), other.split(".")
    known = min(len(first), len(second), 3)
    return first[:known] == second[:known]
