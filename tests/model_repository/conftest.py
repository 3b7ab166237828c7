"""What a server has counted, read once it has counted it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from tritonclient.grpc import InferenceServerClient

from waiting import eventually

Counts = Callable[..., tuple[int, int]]


@pytest.fixture(scope="session")
def settled_counts() -> Counts:
    """Films and executions of a model so far, once they are `at_least` so many and stand still.

    Triton answers a request first and counts it then.
    """

    def counts(
        client: InferenceServerClient, model: str, at_least: tuple[int, int] = (0, 0)
    ) -> tuple[int, int]:
        def read() -> tuple[int, int]:
            statistics = client.get_inference_statistics(model).model_stats[0]
            return int(statistics.inference_count), int(statistics.execution_count)

        def settled() -> tuple[int, int] | None:
            before = read()
            time.sleep(0.2)
            reached = all(now >= least for now, least in zip(before, at_least, strict=True))
            return before if reached and read() == before else None

        return eventually(settled, f"{model} has not counted {at_least} films and executions")

    return counts
