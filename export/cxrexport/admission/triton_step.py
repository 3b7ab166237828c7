"""The `admission` step of the ensemble: is this a frontal chest film that may be judged?

It runs in Triton's Python stub, where alone `triton_python_backend_utils` exists; a repository's
`admission/1/model.py` imports it. What the repository's networks say of chest films is in
`reference.json` beside that, if there is one. The step also hands on what clients get of its
inputs: in the ensemble no tensor can be both a step's input and an output for clients. Of the lung
map they get the two largest parts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from cxrclient.files import sha256_of
from cxrexport.admission import Reference, admission_flags, two_largest_kept
from cxrexport.step_faults import describe_unexpected

HANDED_ON = ("CXR", "LUNGS", "EMBEDDING")
"""Outputs that are inputs of the same name; LUNGS without what is no lung."""
_LUNGS = HANDED_ON.index("LUNGS")


class TritonPythonModel:
    """One instance of the step; Triton calls both methods."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the reference, and refuse one that is not the repository's."""
        import cv2

        # The maps are small: threads would cost more than they save, and the graphs want them.
        cv2.setNumThreads(1)
        parameters = json.loads(args["model_config"])["parameters"]
        expected = parameters["reference_sha256"]["string_value"]
        self._reference: Reference | None = None
        if expected == "none":
            return
        path = Path(args["model_repository"]) / args["model_version"] / "reference.json"
        try:
            content = path.read_bytes()
            if sha256_of(content) != expected:
                raise ValueError("its sha256 is not the recorded one")
            self._reference = Reference.from_json(content)
        except (OSError, ValueError) as error:
            raise pb_utils.TritonModelException(
                f"admission/1/reference.json cannot be used ({error}); fit it again with "
                f"`cxrexport admission`"
            ) from error

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request by itself."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        header_flags = pb_utils.get_input_tensor_by_name(request, "HEADER_FLAGS")
        handed_on = [pb_utils.get_input_tensor_by_name(request, name) for name in HANDED_ON]
        flags = []
        try:
            inputs = (tensor.as_numpy() for tensor in (header_flags, *handed_on))
            for header, cxr, lungs, embedding in zip(*inputs, strict=True):
                # Triton warms up with empty strings.
                facts = json.loads(header.item() or b"[]")
                codes = admission_flags(facts, cxr[0], lungs[0], embedding, self._reference)
                flags.append([json.dumps(list(codes)).encode("ascii")])
            handed_on[_LUNGS] = _two_lungs(handed_on[_LUNGS])
        except Exception as error:
            message = f"INTERNAL: {describe_unexpected('admission', error)}"
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError(message, pb_utils.TritonError.INTERNAL)
            )
        # The very tensors that came: they lie in shared memory already, and a new one with the same
        # array would be copied there (4 MB a map of 1024 px).
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("FLAGS", np.array(flags, dtype=np.object_)), *handed_on]
        )


def _two_lungs(tensor: Any) -> Any:
    """Keep the two largest parts of lung maps [films, 1, S, S]; gives the very tensor if whole."""
    maps = [film[0] for film in tensor.as_numpy()]
    kept = list(map(two_largest_kept, maps))
    if all(after is before for after, before in zip(kept, maps, strict=True)):
        return tensor
    return pb_utils.Tensor("LUNGS", np.stack(kept)[:, None])
