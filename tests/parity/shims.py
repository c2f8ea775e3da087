"""Stand-ins for the parts of torchvision and timm that the official packages import.

Those two must not be in the environment. They are in ``sys.modules`` only while a peer is being
imported: ``transformers`` would otherwise believe that torchvision is there.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor, nn

_Function = TypeVar("_Function", bound=Callable[..., Any])


@contextmanager
def stand_ins() -> Iterator[None]:
    """Let ``import segment_anything`` and ``import mobile_sam`` work inside."""
    modules = _modules()
    saved = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in saved.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize a Pillow image to (height, width), bilinearly with antialiasing."""
    return image.resize((size[1], size[0]), Image.Resampling.BILINEAR)


def box_area(boxes: Tensor) -> Tensor:
    """Area of (N, 4) boxes x0, y0, x1, y1."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """Keep the best of boxes that overlap within a group: indexes, best score first."""
    order = scores.argsort(descending=True, stable=True)
    area, kept = box_area(boxes), torch.zeros(len(boxes), dtype=torch.bool)
    alive = torch.ones(len(boxes), dtype=torch.bool)
    for i in order.tolist():
        if not alive[i]:
            continue
        kept[i] = True
        low = torch.maximum(boxes[i, :2], boxes[:, :2])
        high = torch.minimum(boxes[i, 2:], boxes[:, 2:])
        overlap = (high - low).clamp(min=0).prod(dim=1)
        iou = overlap / (area[i] + area - overlap)
        alive &= ~((iou > iou_threshold) & (idxs == idxs[i]))
    return order[kept[order]]


class DropPath(nn.Module):
    """Drops whole residual branches in training; parity is about inference, so: identity."""

    def __init__(self, drop_prob: float | None = None) -> None:
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x: Tensor) -> Tensor:
        """Return the input."""
        return x


def to_2tuple(value: Any) -> tuple[Any, Any]:
    """Double a number; leave a pair."""
    if isinstance(value, (tuple, list)):
        first, second = value
        return first, second
    return value, value


def trunc_normal_(tensor: Tensor, std: float = 1.0) -> Tensor:
    """Fill with normal numbers: the tests overwrite them anyway."""
    return nn.init.trunc_normal_(tensor, std=std)


def register_model(function: _Function) -> _Function:
    """Register nothing."""
    return function


def _modules() -> dict[str, ModuleType]:
    contents: dict[str, dict[str, Any]] = {
        "torchvision": {},
        "torchvision.ops": {},
        "torchvision.ops.boxes": {"batched_nms": batched_nms, "box_area": box_area},
        "torchvision.transforms": {},
        "torchvision.transforms.functional": {
            "resize": resize,
            "to_pil_image": Image.fromarray,
        },
        "timm": {},
        "timm.models": {},
        "timm.models.layers": {
            "DropPath": DropPath,
            "to_2tuple": to_2tuple,
            "trunc_normal_": trunc_normal_,
        },
        "timm.models.registry": {"register_model": register_model},
    }
    modules = {name: ModuleType(name) for name in contents}
    for name, attributes in contents.items():
        vars(modules[name]).update(attributes)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, modules[name])
    return modules
