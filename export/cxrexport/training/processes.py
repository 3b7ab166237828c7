"""Several processes, one a GPU, as torchrun starts them; alone, each of these costs nothing.

torchrun --nproc_per_node 4 -m cxrexport train …
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cxrclient.errors import FilmError
from cxrexport.errors import CxrExportError

_PATIENCE = timedelta(days=1)
"""Longest wait for another process: the first judges alone. torchrun ends all if one dies."""

_Result = TypeVar("_Result")


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that torchrun started; alone there is nothing to join."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        yield
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def process() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if _several() else 0


def processes() -> int:
    """How many there are."""
    return dist.get_world_size() if _several() else 1


def is_first() -> bool:
    """Whether this process judges, writes and talks."""
    return process() == 0


def pick_device() -> torch.device:
    """Use this process's GPU if there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def agree(decide: Callable[[], _Result]) -> _Result:
    """Let the first process decide, and every process have its result.

    Raises:
        CxrExportError, FilmError: what the first process raised, in every process.
    """
    if not _several():
        return decide()
    outcome: list[Any] = [None, None]
    if is_first():
        try:
            outcome[0] = decide()
        except (CxrExportError, FilmError) as error:
            outcome[1] = error
    dist.broadcast_object_list(outcome, src=0, device=torch.device("cpu"))
    if outcome[1] is not None:
        raise outcome[1]
    result: _Result = outcome[0]
    return result


def wait_for_all() -> None:
    """Go on when every process has come here."""
    mean(0.0)


def mean(value: float) -> float:
    """Average a number over the processes."""
    if not _several():
        return value
    total = torch.tensor(value, dtype=torch.float64)
    dist.all_reduce(total)
    return float(total) / processes()


def exchange_rows(array: npt.NDArray[np.uint8]) -> None:
    """Give every process all rows, where process p of n filled rows p, p + n and so on.

    Args:
        array: uint8 [rows, …]; changed in place.
    """
    if _several():
        for number, row in enumerate(array):
            dist.broadcast(torch.from_numpy(row), src=number % processes())


def spread(network: nn.Module, *, resting: bool = False) -> nn.Module:
    """Wrap a network so that its gradients are the mean over all processes; alone, as it is.

    On GPUs batch norm takes its statistics from the films of all processes. On CPUs torch has no
    such norm: each process normalises by its own films, and the first one's statistics are kept.

    Args:
        network: what learns.
        resting: whether some of the weights that learn do not in every epoch.
    """
    if not _several():
        return network
    devices = None
    if next(network.parameters()).is_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        devices = [torch.cuda.current_device()]
    return DistributedDataParallel(network, device_ids=devices, find_unused_parameters=resting)


def _several() -> bool:
    return dist.is_available() and dist.is_initialized()
