"""An image encoder that another engine runs. Knows shapes and threads; engines are other modules.

An engine's graph has fixed sizes, so there is one a canvas: the published models have a single
one, the bundled model some.
"""

import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_sam.core.modeling.common import EncodedImage

__all__ = ["Compile", "CompiledEncoder", "Run"]

GRAPHS_KEPT = 4  # canvases of the bundled model whose graphs stay in memory
Array = NDArray[np.float32]
Run = Callable[[Array], list[Array]]
Compile = Callable[[nn.Module, Tensor], Run]


class CompiledEncoder(nn.Module):
    """Drop-in for an image encoder on the CPU; makes a graph when a canvas first comes.

    One picture at a time: a second thread waits, since the engine has all the threads it may have.

    Parameters
    ----------
    encoder
        The plain encoder, in eval mode on the CPU; float32.
    compile_graph
        Makes a callable of an encoder and an example picture. The callable takes (1, 3, H, W)
        float32 and gives the encoder's outputs as arrays that are the caller's to keep.
    canvas
        The only (height, width) that the model has, if it has only one: the graph is made at once
        and the plain weights are let go.
    """

    def __init__(
        self,
        encoder: nn.Module,
        compile_graph: Compile,
        *,
        canvas: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self._compile = compile_graph
        self._lock = threading.Lock()
        self._graphs: OrderedDict[tuple[int, int], Run] = OrderedDict()
        # In a tuple, so that it is no submodule: it is nothing to save, move or count.
        self._plain: tuple[nn.Module, ...] = (_Flat(encoder).eval(),)
        if canvas is not None:
            self._graph(canvas)
            self._plain = ()

    def forward(self, x_B3HW: Tensor) -> Tensor | EncodedImage:
        """Encode normalised, padded pictures (B, 3, H, W), as the plain encoder does."""
        size = (x_B3HW.shape[2], x_B3HW.shape[3])
        pictures = np.ascontiguousarray(x_B3HW.float().numpy())
        with self._lock:
            run = self._graph(size)
            answers = [run(picture[None]) for picture in pictures]
        outputs = [torch.from_numpy(np.concatenate(parts)) for parts in zip(*answers, strict=True)]
        return outputs[0] if len(outputs) == 1 else EncodedImage(*outputs)

    def _graph(self, size: tuple[int, int]) -> Run:
        if size not in self._graphs:
            if not self._plain:
                raise ValueError(f"this encoder was compiled for another canvas than {size}")
            self._graphs[size] = self._make(size)
        self._graphs.move_to_end(size)
        while len(self._graphs) > GRAPHS_KEPT:
            self._graphs.popitem(last=False)
        return self._graphs[size]

    def _make(self, size: tuple[int, int]) -> Run:
        # The caller's inference mode and autocast would become part of the traced graph.
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            torch.autocast("cpu", enabled=False),
            warnings.catch_warnings(),
        ):
            # Tracing warns of every size that becomes a constant: that is what is wanted here.
            warnings.simplefilter("ignore")
            return self._compile(self._plain[0], torch.zeros(1, 3, *size))


class _Flat(nn.Module):
    """An encoder whose outputs are a plain tuple of tensors, as tracing wants them."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x_B3HW: Tensor) -> tuple[Tensor, ...]:
        out = self.encoder(x_B3HW)
        return (out,) if isinstance(out, Tensor) else tuple(t for t in out if t is not None)
