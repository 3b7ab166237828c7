"""The int8 variant of a repository: quantised by NNCF, judged on held-out films, kept or refused.

    films     a manifest → films to calibrate with, and others to judge on
    graphs    one ONNX graph → OpenVINO int8
    accuracy  what int8 costs: areas, differences, and whether they are within the bar
    write     all of it, into a repository: whole, or not at all

Imports neither NNCF nor OpenVINO: both are loaded when a graph is made or run.
"""

from __future__ import annotations

from cxrexport.quantise.accuracy import LARGEST_AUC_FALL as LARGEST_AUC_FALL, Accuracy as Accuracy
from cxrexport.quantise.write import (
    Quantisation as Quantisation,
    quantise_repository as quantise_repository,
)
