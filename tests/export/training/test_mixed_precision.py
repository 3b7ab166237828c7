"""Mixed precision in training, float32 in judging."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cxrexport.training.classify import start_backbone, train_backbone
from cxrexport.training.mixed_precision import use_bf16


@pytest.fixture
def precisions():
    """Train a backbone; collect (whether it trained, precision) of every convolution."""

    def train(name, run, films, console):
        module, seen = start_backbone(name, run), set()
        for part in module.modules():
            if isinstance(part, torch.nn.Conv2d):
                part.register_forward_hook(
                    lambda conv, _, out: seen.add((conv.training, out.dtype))
                )
        train_backbone(name, module, run, films, console)
        return seen

    return train


def test_bf16_trains_in_bfloat16_and_judges_in_float32(
    still, drawn_films, new_run, precisions, quiet
):
    recipe = still({"epochs": 1}, precision="bf16")
    seen = precisions("vgg16", new_run("run", recipe), drawn_films(recipe), quiet)
    assert seen == {(True, torch.bfloat16), (False, torch.float32)}


def test_fp32_trains_in_float32(still, drawn_films, new_run, precisions, quiet):
    recipe = still({"epochs": 1}, precision="fp32")
    seen = precisions("vgg16", new_run("run", recipe), drawn_films(recipe), quiet)
    assert seen == {(True, torch.float32), (False, torch.float32)}


def test_weights_learnt_in_bf16_are_kept_in_float32(still, drawn_films, new_run, fit):
    recipe = still({"epochs": 1}, precision="bf16")
    run = new_run("run", recipe)
    fit("vgg16", run, drawn_films(recipe))
    kept = load_file(run.folder("vgg16").checkpoint)
    assert {weight.dtype for weight in kept.values()} == {torch.float32}
    rounded = [w.bfloat16().float().equal(w) for w in kept.values()]
    assert not all(rounded), "the weights themselves are not rounded to bfloat16"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the flags are those of x86")
def test_auto_takes_bf16_where_the_processor_computes_in_it(still):
    flags = set(Path("/proc/cpuinfo").read_text().split())
    native = bool(flags & {"avx512_bf16", "amx_bf16"})
    assert use_bf16(still(precision="auto"), torch.device("cpu")) == native
