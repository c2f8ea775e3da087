"""One prompt's cross attentions, in slices of the image's cells: for ``core/packed_decoder.py``.

As :class:`FoldedAttention`, but what tokens do with cells is a function of a slice, so that slices
can be shared out to workers of one thread: to wake a team for each of some hundred small operations
costs more than it saves. What tokens find in the slices is put together by the sums that the
slices' softmaxes divided by. Knows torch and the plain modules. Suffixes as in
``core/packed_attention.py``, with a single object; further p cells of a slice, S slices.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from napari_sam.core.packed_attention import FoldedAttention, ImageSide
from napari_sam.core.threads import Run, slices

CELLS_AT_ONCE = 1024  # most cells of a slice: what is made of them stays in the cores' caches


@dataclass(frozen=True, eq=False)
class Found:
    """What the tokens found in a slice of the cells.

    Attributes
    ----------
    mixed
        (R, X) float32, means of the slice's cells or of its values.
    weight
        (R,) float32, log of how much they count: of the sum of exponentials.
    """

    mixed: Tensor
    weight: Tensor


Ask = Callable[[slice, Tensor], Found]
"""What tokens find in a slice of the cells: the slice, and (p, D) its cells."""
Update = Callable[[slice], Tensor]
"""The next value of a slice of the cells, (p, D) float32."""


class ClickedAttention:
    """One cross attention between the tokens of one prompt, (1, T, D), and slices of cells."""

    def __init__(self, folded: FoldedAttention) -> None:
        self.folded, self.plain = folded, folded.plain
        self.heads, self.dtype = folded.heads, folded.dtype

    def ask_first(self, q_1TD: Tensor, image: ImageSide) -> Ask:
        """Tokens attend to an image that is projected already."""
        rows_HTd = self._rows(q_1TD, self.plain.q_proj).to(self.dtype)

        def ask(part: slice, _: Tensor) -> Found:
            logits_HTp = torch.bmm(rows_HTd, image.keys[:, :, part])
            weight_HT = weigh_(logits_HTp)
            mixed_HTd = torch.bmm(logits_HTp, image.values[:, part]).float()
            return Found(mixed_HTd.flatten(0, 1), weight_HT.flatten())

        return ask

    def take_first(self, found: Sequence[Found]) -> Tensor:
        """What tokens take from all that :meth:`ask_first` found, (1, T, D)."""
        width = self.plain.v_proj.out_features // self.heads
        return self.folded.join(join(found).view(self.heads, -1, width), 1)

    def ask(self, q_1TD: Tensor, place_HdP: Tensor) -> Ask:
        """Tokens attend to cells with positions."""
        rows_HTd = self._rows(q_1TD, self.plain.q_proj)
        product = self._product(rows_HTd, self.plain.k_proj, place_HdP)

        def ask(part: slice, cells_pD: Tensor) -> Found:
            logits_Rp = product(part, cells_pD)
            weight_R = weigh_(logits_Rp)
            return Found((logits_Rp @ cells_pD).float(), weight_R)

        return ask

    def take(self, found: Sequence[Found]) -> Tensor:
        """What tokens take from all that :meth:`ask` found, (1, T, D)."""
        layer = self.plain.v_proj
        mixed_HTD = join(found).view(self.heads, -1, layer.in_features)
        weight = layer.weight.view(self.heads, -1, layer.in_features)
        # The weights of a softmax sum to one, so the bias passes through.
        bias = layer.bias.view(self.heads, 1, -1)
        taken_HTd = torch.baddbmm(bias, mixed_HTD, weight.transpose(1, 2))
        return self.folded.join(taken_HTd, 1)

    def answer_first(
        self, k_1TD: Tensor, v_1TD: Tensor, image: ImageSide, norm: nn.LayerNorm
    ) -> Update:
        """Cells of an image that is projected already attend to tokens; added, normalised."""
        rows_HTd = self._rows(k_1TD, self.plain.k_proj).to(self.dtype)
        gifts_RD = self._gifts(v_1TD)

        def update(part: slice) -> Tensor:
            logits_HTp = torch.bmm(rows_HTd, image.queries[:, :, part])
            return self._spread(logits_HTp, gifts_RD, image.cells[part], norm)

        return update

    def answer(
        self, k_1TD: Tensor, v_1TD: Tensor, cells_PD: Tensor, place_HdP: Tensor, norm: nn.LayerNorm
    ) -> Update:
        """Cells with positions attend to tokens; added and normalised."""
        rows_HTd = self._rows(k_1TD, self.plain.k_proj)
        product = self._product(rows_HTd, self.plain.q_proj, place_HdP)
        gifts_RD = self._gifts(v_1TD)

        def update(part: slice) -> Tensor:
            logits_Rp = product(part, cells_PD[part])
            logits_HTp = logits_Rp.view(self.heads, -1, logits_Rp.shape[1])
            return self._spread(logits_HTp, gifts_RD, cells_PD[part], norm)

        return update

    def _rows(self, x_1TD: Tensor, layer: nn.Linear) -> Tensor:
        """Tokens through a layer, scaled, in heads: (H, T, d)."""
        rows_HTd: Tensor = self.folded.split(layer(x_1TD)) * self.folded.scale
        return rows_HTd

    def _product(
        self, rows_HTd: Tensor, layer: nn.Linear, place_HdP: Tensor
    ) -> Callable[[slice, Tensor], Tensor]:
        """Products (R, p) of rows with what a layer makes of a slice of cells plus positions."""
        folded_HTD = torch.bmm(rows_HTd, layer.weight.view(self.heads, -1, layer.in_features))
        folded_RD = folded_HTD.flatten(0, 1).to(self.dtype)
        rows_HTd = rows_HTd.to(self.dtype)

        def product(part: slice, cells_pD: Tensor) -> Tensor:
            logits_Rp = torch.bmm(rows_HTd, place_HdP[:, :, part]).flatten(0, 1)
            return logits_Rp.addmm_(folded_RD, cells_pD.t())

        return product

    def _gifts(self, v_1TD: Tensor) -> Tensor:
        """What each row gives to a cell, (R, D)."""
        layer = self.plain.out_proj
        weight = layer.weight.t().view(self.heads, -1, layer.out_features)
        gifts_HTD = torch.bmm(self.folded.split(self.plain.v_proj(v_1TD)), weight)
        # Each head's weights sum to one, so that each may bring its share of the bias.
        gifts_HTD += layer.bias / self.heads
        return gifts_HTD.flatten(0, 1).to(self.dtype)

    def _spread(
        self, logits_HTp: Tensor, gifts_RD: Tensor, cells_pD: Tensor, norm: nn.LayerNorm
    ) -> Tensor:
        """Add to each cell what its weights pick of the gifts, and normalise."""
        # Tokens are not innermost: a softmax over few runs fast along whole rows of cells.
        weights_pR = logits_HTp.softmax(1).flatten(0, 1).t()
        if self.dtype == torch.float32:
            summed_pD = torch.addmm(cells_pD, weights_pR, gifts_RD)
        else:  # the sum itself is float32
            summed_pD = torch.mm(weights_pR, gifts_RD).float()
            summed_pD += cells_pD
        out: Tensor = norm(summed_pD)
        return out


def weigh_(logits_Xp: Tensor) -> Tensor:
    """Turn logits (..., p) to weights in place; returns the log of the sum of exponentials (...).

    The largest weight is one over the sum, less its own exponent: no second pass of exponentials.
    """
    largest = logits_Xp.amax(-1).float()
    torch.softmax(logits_Xp, -1, out=logits_Xp)
    return largest - logits_Xp.amax(-1).float().log_()


def join(found: Sequence[Found]) -> Tensor:
    """What was found in all slices together, (R, X)."""
    if len(found) == 1:
        return found[0].mixed
    shares_SR1 = torch.stack([each.weight for each in found]).softmax(0)[..., None]
    return (torch.stack([each.mixed for each in found]) * shares_SR1).sum(0)


def ask_all(ask: Ask, cells_PD: Tensor, update: Update | None = None, *, run: Run) -> list[Found]:
    """What tokens find in each slice of the cells, which first get their next value, if any."""
    parts = slices(len(cells_PD), CELLS_AT_ONCE)
    found: list[Found | None] = [None] * len(parts)

    def look(i: int) -> None:
        cells = cells_PD[parts[i]]
        if update is not None:
            cells.copy_(update(parts[i]))
        found[i] = ask(parts[i], cells)

    run([partial(look, i) for i in range(len(parts))])
    return [each for each in found if each is not None]
