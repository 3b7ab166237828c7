"""The `preprocess` step of the ensemble: one encoded film in, the network's image out.

It runs in Triton's Python stub, where alone `triton_python_backend_utils` exists; a repository's
`preprocess/1/model.py` imports it. The parameters come from the model's configuration, with the
digest that the graphs were trained under.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

from cxrclient.errors import FilmError
from cxrclient.pixels import start_worker
from cxrexport.preprocessing import PreprocessingSpec, preprocess
from cxrexport.preprocessing.memory import keep_freed_memory
from cxrexport.step_faults import describe_unexpected


class TritonPythonModel:
    """One instance of the step; Triton calls both methods."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the spec, and refuse to serve with code that understands it differently.

        The decoders' process starts here: a server that cannot start one is not ready.
        """
        keep_freed_memory()
        start_worker()
        parameters = json.loads(args["model_config"])["parameters"]
        expected = parameters["preprocessing_digest"]["string_value"]
        try:
            spec = json.loads(parameters["preprocessing_spec"]["string_value"])
            self._spec = PreprocessingSpec.from_dict(spec)
        except ValueError as error:
            raise pb_utils.TritonModelException(
                f"the installed cxrexport does not understand the repository's preprocessing "
                f"({error}); install the cxr-triton that built the repository, or build it again"
            ) from error
        if self._spec.digest != expected:
            raise pb_utils.TritonModelException(
                f"preprocessing digest {self._spec.digest[:12]} of the installed cxrexport is not "
                f"the repository's {expected[:12]}; install the cxr-triton that built the "
                f"repository, or build it again"
            )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request by itself: a bad film never costs another one its answer."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        encoded = pb_utils.get_input_tensor_by_name(request, "IMAGE").as_numpy().reshape(-1)
        images, geometries, flags = [], [], []
        for number, film in enumerate(encoded, start=1):
            where = f" (film {number} of {len(encoded)} in one request)" if len(encoded) > 1 else ""
            try:
                result = preprocess(bytes(film), self._spec)
            except FilmError as error:
                return _refuse(f"{error.code}: {error.message}{where}", "INVALID_ARG")
            except Exception as error:
                return _refuse(
                    f"INTERNAL: {describe_unexpected('preprocessing', error)}{where}", "INTERNAL"
                )
            images.append(result.image)
            geometries.append(result.geometry.to_array())
            flags.append([json.dumps(list(result.header_flags)).encode("ascii")])
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("CXR", _batch(images)),
                pb_utils.Tensor("GEOMETRY", _batch(geometries)),
                pb_utils.Tensor("HEADER_FLAGS", np.array(flags, dtype=np.object_)),
            ]
        )


def _batch(films: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Put films in one array; a request mostly holds one, and its 4 MB are not copied."""
    return films[0][np.newaxis] if len(films) == 1 else np.stack(films)


def _refuse(message: str, kind: str) -> Any:
    return pb_utils.InferenceResponse(
        error=pb_utils.TritonError(message, getattr(pb_utils.TritonError, kind))
    )
