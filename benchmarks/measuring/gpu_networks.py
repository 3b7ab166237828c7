"""The ensemble as one PyTorch module, and the ways to run it that gpu.py compares.

Needs torch and MONAI (`pip install --no-deps monai`: pure Python), and nothing else of the project
but its networks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cxrexport.ensemble import DEFAULT_MEMBERS, Ensemble, graphs_of
from cxrexport.networks import Average, LungUNet, make_backbone

Outputs = tuple[torch.Tensor, ...]
"""Probability, heatmap, embedding, lungs."""
Forward = Callable[[torch.Tensor], Outputs]


class WholeEnsemble(nn.Module):
    """Films [N, 1, S, S] in 0..1 → (probability [N, 1], heatmap, embedding, lungs): all outputs."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        self.segment = LungUNet()
        backbones = {name: make_backbone(name, width) for name in DEFAULT_MEMBERS}
        self.backbones = nn.ModuleDict(backbones)
        self.average = Average([1.0] * len(DEFAULT_MEMBERS))

    def forward(self, film: torch.Tensor) -> Outputs:
        """Every output that the server gives, so that nothing is left out of the time."""
        lungs = self.segment(film)
        outputs = {name: network(film, lungs) for name, network in self.backbones.items()}
        logits = [out.logits.float() for out in outputs.values()]
        cams = [out.cam.float() for out in outputs.values()]
        probability, _, _, heatmap = self.average(*logits, *cams)
        return probability, heatmap, outputs["resnet50"].embedding, lungs


def random_ensemble(width: float, seed: int = 2021) -> WholeEnsemble:
    """Random weights; batch norm's statistics from one pass over noise, as a trained net has."""
    torch.manual_seed(seed)
    ensemble = WholeEnsemble(width)
    for module in ensemble.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # a plain average over what it sees
    with torch.no_grad():
        ensemble.train()(torch.rand(4, 1, 128, 128))
    return ensemble.eval()


def film_gmac(ensemble: nn.Module, size_px: int, device: torch.device) -> float:
    """GMAC of one film: products of convolutions and matrices, by torch's own counter."""
    film = torch.zeros(1, 1, size_px, size_px, device=device)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        ensemble(film)
    return counter.get_total_flops() / 2 / 1e9


def hold_bf16_weights(ensemble: nn.Module) -> nn.Module:
    """Store the weights of convolutions and linear layers as bf16, so that no pass casts them."""
    for module in ensemble.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            module.to(torch.bfloat16)
    return ensemble


@dataclass(frozen=True)
class Mode:
    """A way to run the ensemble.

    Attributes:
        name: as the table says it.
        precision: whose peak it is held against: `fp32`, `tf32` or `bf16`.
        make: (ensemble in fp32 on the device, films of the batch) → a call that answers a batch.
        needs_gpu: it cannot run on a CPU.
    """

    name: str
    precision: str
    make: Callable[[nn.Module, torch.Tensor], Forward]
    needs_gpu: bool = False


def allow_tf32(allowed: bool) -> None:
    """Whether fp32 products may be computed in TF32; PyTorch's defaults differ by operation."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def _eager(tf32: bool) -> Callable[[nn.Module, torch.Tensor], Forward]:
    def make(ensemble: nn.Module, films: torch.Tensor) -> Forward:
        def run(batch: torch.Tensor) -> Outputs:
            allow_tf32(tf32)
            return ensemble(batch)

        return run

    return make


def _bf16(ensemble: nn.Module, films: torch.Tensor) -> Forward:
    """Autocast to bf16, channels last; normalisation and softmax stay fp32 as autocast has them."""
    fast = hold_bf16_weights(ensemble).to(memory_format=torch.channels_last)

    def run(batch: torch.Tensor) -> Outputs:
        batch = batch.contiguous(memory_format=torch.channels_last)
        with torch.autocast(batch.device.type, torch.bfloat16, cache_enabled=False):
            return fast(batch)

    return run


def _compiled(ensemble: nn.Module, films: torch.Tensor) -> Forward:
    return torch.compile(_bf16(ensemble, films), dynamic=False)


def _cuda_graph(ensemble: nn.Module, films: torch.Tensor) -> Forward:
    """One launch for all kernels of the bf16 pass, on a fixed batch."""
    run, held = _bf16(ensemble, films), films.clone()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.inference_mode(), torch.cuda.stream(aside):
        for _ in range(3):  # lazy set-up must not be captured
            run(held)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.cuda.graph(graph):
        answer = run(held)

    def replay(batch: torch.Tensor) -> Outputs:
        held.copy_(batch)
        graph.replay()
        return answer

    return replay


def modes() -> list[Mode]:
    """All ways that need nothing but torch."""
    return [
        Mode("eager fp32, TF32 off", "fp32", _eager(tf32=False)),
        Mode("eager fp32, TF32 on", "tf32", _eager(tf32=True), needs_gpu=True),
        Mode("bf16 autocast, channels last", "bf16", _bf16),
        Mode("bf16, torch.compile", "bf16", _compiled),
        Mode("bf16, CUDA graph", "bf16", _cuda_graph, needs_gpu=True),
    ]


class Plan:
    """A TensorRT plan on torch's tensors and stream.

    Args:
        path: built by this machine's TensorRT (`cxrexport engines`).

    Raises:
        RuntimeError: TensorRT does not load it.
    """

    def __init__(self, path: Path) -> None:
        import tensorrt

        self._logger = tensorrt.Logger(tensorrt.Logger.ERROR)
        self._engine = tensorrt.Runtime(self._logger).deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise RuntimeError(f"TensorRT {tensorrt.__version__} does not load {path.name}")
        self._context = self._engine.create_execution_context()
        names = [self._engine.get_tensor_name(n) for n in range(self._engine.num_io_tensors)]
        is_input = tensorrt.TensorIOMode.INPUT
        self._inputs = [n for n in names if self._engine.get_tensor_mode(n) == is_input]
        self._outputs = [n for n in names if n not in self._inputs]
        self._types = {
            tensorrt.float32: torch.float32,
            tensorrt.float16: torch.float16,
            tensorrt.bfloat16: torch.bfloat16,
            tensorrt.int32: torch.int32,
        }

    def __call__(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Run a batch; returns before the GPU has finished.

        Raises:
            RuntimeError: the plan was not built for such a batch, or does not run.
        """
        held = {name: inputs[name].to(self._type_of(name)).contiguous() for name in self._inputs}
        for name, tensor in held.items():
            if not self._context.set_input_shape(name, tuple(tensor.shape)):
                raise RuntimeError(f"the plan takes no {name} of {tuple(tensor.shape)}")
            self._context.set_tensor_address(name, tensor.data_ptr())
        device = next(iter(held.values())).device
        results = {}
        for name in self._outputs:
            shape = tuple(self._context.get_tensor_shape(name))
            results[name] = torch.empty(shape, dtype=self._type_of(name), device=device)
            self._context.set_tensor_address(name, results[name].data_ptr())
        stream = torch.cuda.current_stream(device).cuda_stream
        if not self._context.execute_async_v3(stream):
            raise RuntimeError("TensorRT did not run the plan")
        return results

    def _type_of(self, name: str) -> torch.dtype:
        return self._types[self._engine.get_tensor_dtype(name)]


def likeness(said: Outputs, expected: Outputs) -> dict[str, float]:
    """Of a film: |Δ| of the probability, cosine of the embedding and of the lung map."""
    pairs = [
        (a[0].float().cpu().flatten(), b[0].float().cpu().flatten())
        for a, b in zip(said, expected, strict=True)
    ]
    (mine, theirs), _, embedding, lungs = pairs
    cosine = torch.nn.functional.cosine_similarity
    return {
        "difference": (mine - theirs).abs().item(),
        "embedding_cosine": cosine(*embedding, dim=0).item(),
        "lungs_cosine": cosine(*lungs, dim=0).item(),
    }


def plans_precision(repository: Path) -> str:
    """What the plans' convolutions compute in, as a passport says; fp16 where there is none."""
    passport = repository / "vgg16" / "1" / "engine.json"
    if not passport.is_file():
        return "fp16"
    return str(json.loads(passport.read_text(encoding="utf-8"))["precision"])


class Plans:
    """A repository's plans, on tensors that stay on the GPU."""

    def __init__(self, repository: Path, graphs: Sequence[str]) -> None:
        self._plans = {name: Plan(repository / name / "1" / "model.plan") for name in graphs}

    def run(self, graph: str, inputs: dict[str, Any]) -> Any:
        """Run one plan, as the ensemble asks for it."""
        return self._plans[graph](inputs)


def plans_forward(repository: Path) -> Forward:
    """The repository's plans, one after the other, as Triton runs them."""
    # Read as it lies: what reads repositories needs more than a GPU machine may have.
    content = json.loads((repository / "repository.json").read_text(encoding="utf-8"))
    members = content["spec"].get("members", DEFAULT_MEMBERS)
    ensemble = Ensemble(Plans(repository, graphs_of(members)), members)

    def run(batch: torch.Tensor) -> Outputs:
        said: Any = ensemble.judge(batch)  # type: ignore[arg-type]  # what runs is on tensors too
        return said["PROBABILITY"], said["HEATMAP"], said["EMBEDDING"], said["LUNGS"]

    return run
