"""What benchmarks/client.py measures with: films by the thousand, and a server that answers fast.

The server is a real Triton with one model of the ensemble's name, inputs, outputs and parameters,
which gives the same constants for every film. The client cannot tell it from the ensemble, and it
takes as much of it: 5,000 films through the real graphs would be hours of a test of the client.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from inputs.films import real_film

_CODE = '''"""The ensemble's outputs as constants: a server that costs (almost) nothing."""

import json

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self._tensors = {}
        for output in config["output"]:
            shape = [1, *map(int, output["dims"])]
            dtype = pb_utils.triton_string_to_numpy(output["data_type"])
            self._tensors[output["name"]] = np.full(shape, 0.25).astype(dtype)
        self._tensors["FLAGS"] = np.array([[b"[]"]], dtype=np.object_)
        geometry = json.loads(config["parameters"]["geometry"]["string_value"])
        self._tensors["GEOMETRY"] = np.array([geometry], dtype=np.float32)

    def execute(self, requests):
        answers = []
        for request in requests:
            names = request.requested_output_names()
            tensors = [pb_utils.Tensor(name, self._tensors[name]) for name in names]
            answers.append(pb_utils.InferenceResponse(tensors))
        return answers
'''


def geometry_of(image_size_px: int) -> list[float]:
    """GEOMETRY of the film that all bars are for, uncropped: it fills the square's height."""
    rows, columns = 1955, 1841
    scale = rows / image_size_px
    first = scale / 2 - 0.5
    return [rows, columns, scale, 0.0, first + (columns - rows) / 2, 0.0, scale, first]


def write_fast_repository(like: Path, folder: Path) -> Path:
    """A repository whose `cxr` looks like that of `like`, and computes nothing."""
    text = (like / "cxr" / "config.pbtxt").read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    config.ClearField("ensemble_scheduling")
    config.ClearField("platform")
    config.backend = "python"
    geometry = geometry_of(int(config.parameters["image_size_px"].string_value))
    config.parameters["geometry"].string_value = json.dumps(geometry)
    group = config.instance_group.add()
    group.kind, group.count = model_config_pb2.ModelInstanceGroup.KIND_CPU, 1
    model = folder / "cxr"
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text(text_format.MessageToString(config))
    (model / "1" / "model.py").write_text(_CODE)
    return folder


def link_films(folder: Path, count: int) -> Path:
    """A folder of so many films of full size: one file under many names."""
    folder.mkdir()
    film = folder.parent / "film.dcm"
    if not film.exists():
        film.write_bytes(real_film().read_bytes())
    for number in range(count):
        (folder / f"{number:06}.dcm").hardlink_to(film)
    return folder


def draw_small_films(folder: Path, count: int) -> Path:
    """A folder of so many different films, small ones (PNG, 64x64, 8 bits)."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        pixels = random.integers(0, 256, (64, 64), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number:06}.png"), pixels)
    return folder
