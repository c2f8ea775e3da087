"""``napari-sam train``, ``finetune``, ``pretrain``, ``pack``: hands them to ``training``.

Their options are those of ``training/commands.py`` and its neighbours, so that torchrun and this
command take the same. Importing this imports no torch.
"""

from collections.abc import Callable
from importlib import import_module

import typer

__all__ = ["PANEL", "SETTINGS", "finetune", "pack", "pretrain", "train"]

PANEL = "Training"
SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def _hand_over(ctx: typer.Context, module: str, name: str) -> None:
    import napari_sam.core  # noqa: F401  before torch: see core/threads.py

    command: Callable[..., None] = getattr(import_module(f"napari_sam.training.{module}"), name)
    command(ctx.args, prog=f"napari-sam {name}")


def train(ctx: typer.Context) -> None:
    """Train a model on labelled images and drawn scenes; see: napari-sam train --help."""
    _hand_over(ctx, "commands", "train")


def finetune(ctx: typer.Context) -> None:
    """Fit a model to a few labelled images of your own, and register it under a name."""
    _hand_over(ctx, "command_finetune", "finetune")


def pretrain(ctx: typer.Context) -> None:
    """Pre-train an encoder on images without labels."""
    _hand_over(ctx, "command_pretrain", "pretrain")


def pack(ctx: typer.Context) -> None:
    """Write labelled images to one small file, for a machine that is lent for minutes."""
    _hand_over(ctx, "commands", "pack")
