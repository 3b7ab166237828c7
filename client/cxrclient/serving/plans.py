"""The TensorRT plans of a repository: which it serves, which nothing proves, what builds them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from cxrclient.files import read_regular, sha256_of
from cxrclient.serving.passports import (
    FINER,
    MOST_BYTES,
    PASSPORT,
    PLAN,
    PassportUnreadable,
    read_passport,
)


def file_named(configuration: Path) -> str | None:
    """Return the model's file that a configuration names; None where it names none."""
    text = read_regular(configuration, MOST_BYTES).decode("utf-8")
    name = re.search(r'^default_model_filename: "([^"]+)"', text, re.MULTILINE)
    return None if name is None else name[1]


def served_graphs(repository: Path) -> list[str]:
    """Return the models whose GPU configuration names a TensorRT plan, in the order of names."""
    configs = sorted(repository.glob("*/config.pbtxt"))
    return [path.parent.name for path in configs if file_named(path) == PLAN]


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
