"""What a server has counted, read once it has counted it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from tritonclient.grpc import InferenceServerClient

Counts = Callable[[InferenceServerClient, str], tuple[int, int]]


@pytest.fixture(scope="session")
def settled_counts() -> Counts:
    """Films and executions of a model so far, once both stand still.

    Triton answers a request first and counts it then.
    """

    def counts(client: InferenceServerClient, model: str) -> tuple[int, int]:
        before = None
        while True:
            statistics = client.get_inference_statistics(model).model_stats[0]
            now = int(statistics.inference_count), int(statistics.execution_count)
            if now == before:
                return now
            before = now
            time.sleep(0.2)

    return counts
