"""A network and settings so small that a step takes no time; also the programs that tests kill."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from napari_sam.core.architecture import MicroConfig, SamConfig, ViTConfig
from napari_sam.core.modeling.micro import MicroSam
from napari_sam.evaluation.datasets import Sample
from napari_sam.training.crop_shape import CropShape
from napari_sam.training.distributed import join_ranks, leave_ranks
from napari_sam.training.images import TrainingImages
from napari_sam.training.loop import Trainer
from napari_sam.training.params import TrainParams

SMALL = MicroConfig(
    stage_dims=(8, 16, 16),
    stage_depths=(0, 0, 1),
    embed_dim=32,
    depth=3,
    num_heads=2,
    window_size=4,
    out_chans=32,
    skip_chans=8,
    mask_in_chans=8,
    decoder_depth=2,
    decoder_num_heads=2,
)
SMALL_SAM = SamConfig(
    encoder=ViTConfig(
        patch_size=16,
        embed_dim=16,
        depth=2,
        num_heads=2,
        window_size=2,
        global_attn_indexes=(1,),
    ),
    image_size=64,
    out_chans=16,
    mask_in_chans=8,
    decoder_depth=1,
    decoder_num_heads=2,
    decoder_mlp_dim=16,
    iou_head_depth=2,
    iou_head_hidden_dim=16,
)
PARAMS = TrainParams(
    minutes=60,
    warmup_steps=5,
    crops=(CropShape(64, 2, 2, 1.0),),
    checkpoint_seconds=1e9,
    workers=0,
    device="cpu",
    synthetic_share=0.0,  # the first drawn scene of a process takes seconds
    copy_paste=0.0,
)


def make_trainer(folder: Path, **changes: object) -> Trainer:
    torch.manual_seed(0)
    return Trainer(MicroSam(SMALL), replace(PARAMS, **changes), folder)


def drawn_sample(name: str = "drawn", modality: str = "fluorescence", side: int = 96) -> Sample:
    """Two bright rectangles and a small one on black."""
    labels = np.zeros((side, side), np.int32)
    labels[8:40, 10:50], labels[50:90, 30:70], labels[2:4, 80:90] = 1, 2, 3
    picture = np.repeat((labels > 0)[..., None] * np.uint8(200), 3, 2)
    return Sample(name, modality, "drawn", picture, labels, {"gt_origin": "manual"})


IMAGES = TrainingImages.from_samples([drawn_sample()])


def advance(trainer: Trainer, steps: int) -> None:
    running = trainer.run(IMAGES)
    for _ in range(steps):
        next(running)
    running.close()


if __name__ == "__main__":  # python -m tests.training.small FOLDER KEY=VALUE ...
    torch.set_num_threads(1)
    join_ranks()
    changes = {key: int(value) for key, value in (a.split("=") for a in sys.argv[2:])}
    trainer = make_trainer(Path(sys.argv[1]), precision="float32", log_every=1, **changes)
    print("ready", trainer.step, flush=True)
    for _ in trainer.run(IMAGES):
        print(trainer.step, flush=True)
    leave_ranks()
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    print("left:", *(name for name in threads if "gloo" in name), flush=True)
