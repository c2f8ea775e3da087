"""Several training processes as one: ranks, and averages over them (gloo; nccl between GPUs).

Without torchrun there is one rank and every function here leaves things as they are.
"""

import atexit
import importlib
import os
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

_T = TypeVar("_T")


def join_ranks() -> None:
    """Join the process group that torchrun announces in the environment, if it does."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        # Its functions take the group of the time when they are defined as a default argument:
        # loaded later (by an optimiser), they would hold the group beyond its end.
        importlib.import_module("torch.distributed.nn.functional")
        # A CPU tensor needs gloo also where gradients travel between GPUs.
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        # A thread of gloo that still holds a tensor when the interpreter ends aborts the process.
        atexit.register(leave_ranks)


def leave_ranks() -> None:
    """Leave the process group, if this process is in one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Number of this process, 0 for the first or only one."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def average_over_ranks(value: float) -> float:
    """Mean of a number over all ranks."""
    if world_size() == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64)
    dist.all_reduce(total)
    return float(total) / world_size()


def gather_over_ranks(value: _T) -> list[_T]:
    """What every rank has to say, by rank; values must be picklable."""
    if world_size() == 1:
        return [value]
    found: list[Any] = [None] * world_size()
    dist.all_gather_object(found, value)
    return found


def average_gradients(modules: list[nn.Module]) -> None:
    """Replace every gradient by its mean over all ranks, in one message.

    A parameter without a gradient on this rank counts as zero: ranks may differ in what a batch
    touched.
    """
    if world_size() == 1:
        return
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    flat = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
    dist.all_reduce(flat)
    flat /= world_size()
    for p, piece in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        p.grad = piece.view_as(p)
