"""Parts of the bundled model's decoder as a CPU runs them fastest, for one prompt at a time.

Each equals its namesake in ``modeling/micro*.py``. The decoder's few tokens meet many image cells,
so each projection of the cells is folded into the tokens: 4 heads x 7 tokens are fewer rows than
the 64 channels of a projection. The dense prompt has rank 32 and is never projected either. Knows
torch and the plain modules; put together in ``core/packed_micro.py``.

Suffixes as in ``modeling/common.py``; further P cells of the stride-8 grid, T tokens, H heads,
d channels of a head, G = H * T, R rank of the dense prompt (its last row is a constant 1).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor, nn

from napari_sam.core.modeling.micro_mask_decoder import (
    CrossAttention,
    MicroMaskDecoder,
    TwoWayBlock,
)
from napari_sam.core.native.cells import Exchange, Finer, LowRank
from napari_sam.core.native.first import FirstQuestions, can_ask_first
from napari_sam.core.packed_click import Found, join, weigh_
from napari_sam.core.packed_micro_prompt import DensePrompt, ImageSide

FirstAsk = Callable[[slice], Found]


@dataclass(frozen=True, eq=False)
class CellUpdate:
    """The image's half of a block, by slices of the cells.

    Attributes
    ----------
    before, added
        (P, D) the cells before it, and what joins them first.
    after
        The cells of a slice after it, (p, D).
    exchange
        What leads from one to the other.
    """

    before: Tensor
    added: LowRank | None
    after: Callable[[slice], Tensor]
    exchange: Callable[[], Exchange]


class FoldedAttention:
    """A :class:`CrossAttention` whose token side takes over the projections of the cells.

    What a token goes through on either side of a head is a single matrix, made beforehand.
    """

    def __init__(self, plain: CrossAttention) -> None:
        self.heads = plain.num_heads
        self.plain = plain
        self.scale: float = (plain.q_proj.out_features // self.heads) ** -0.5
        asking = self._chain(plain.q_proj, self.by_head(plain.k_proj))
        self.asking = [self.scale * each for each in asking]
        cells = torch.cat([self.by_head(plain.q_proj), self._by_head(plain.q_proj.bias)], 2)
        self.offering = [self.scale * each for each in self._chain(plain.k_proj, cells)]
        weight, bias = self._chain(plain.v_proj, self._by_head(plain.out_proj.weight.t()))
        # The weights of a head add up to 1, so that each head brings its share of the bias.
        self.giving = [weight, bias + plain.out_proj.bias.repeat(self.heads) / self.heads]
        self.taking = [torch.cat(weight.chunk(self.heads, 1)), self.giving[1].view(self.heads, -1)]
        self.taking[1] = self.taking[1].sum(0)

    def _chain(self, layer: nn.Linear, after_HdX: Tensor) -> list[Tensor]:
        """A layer and what comes after it in each head, as weight (D, H * X) and bias (H * X,)."""
        weight = torch.bmm(self.by_head(layer).transpose(1, 2).double(), after_HdX.double())
        bias = torch.bmm(self._by_head(layer.bias).transpose(1, 2).double(), after_HdX.double())
        return [weight.transpose(0, 1).flatten(1).float(), bias.flatten().float()]

    def _by_head(self, x_EX: Tensor) -> Tensor:
        """(H * d, ...) to (H, d, X)."""
        return x_EX.reshape(self.heads, -1, x_EX[0].numel())

    def by_head(self, layer: nn.Linear) -> Tensor:
        """A projection's weight as (H, d, D)."""
        return self._by_head(layer.weight)

    def split(self, x_TE: Tensor) -> Tensor:
        """(T, H * d) to (H, T, d)."""
        out: Tensor = x_TE.view(len(x_TE), self.heads, -1).transpose(0, 1)
        return out

    def _rows(self, x_TD: Tensor, layer: Sequence[Tensor]) -> Tensor:
        """Tokens through a chain of layers, (H * T, X)."""
        weight, bias = layer
        return self.split(torch.addmm(bias, x_TD, weight)).flatten(0, 1)

    def queries(self, tokens_TD: Tensor) -> Tensor:
        """Scaled queries of tokens, (H, T, d)."""
        return self.split(self.plain.q_proj(tokens_TD)) * self.scale

    def keys(self, tokens_TD: Tensor) -> Tensor:
        """Scaled keys of tokens, (H, T, d)."""
        return self.split(self.plain.k_proj(tokens_TD)) * self.scale

    def questions(self, tokens_TD: Tensor) -> Tensor:
        """What tokens look for in cells, (H * T, D). The keys' bias falls out of the softmax."""
        return self._rows(tokens_TD, self.asking)

    def ask(self, logits_Gp: Tensor, cells_pD: Tensor) -> Found:
        """What tokens find in a slice; ``logits`` are questions times keys, overwritten."""
        weight = weigh_(logits_Gp)
        return Found(logits_Gp @ cells_pD, weight)

    def answers(self, found: Sequence[Found]) -> Tensor:
        """What tokens find in all slices, (T, D)."""
        mixed = join(found)
        by_token = mixed.view(self.heads, -1, mixed.shape[1]).transpose(0, 1).flatten(1)
        weight, bias = self.taking
        return torch.addmm(bias, by_token, weight)

    def output(self, mixed_HTd: Tensor) -> Tensor:
        """Mixed values to tokens, (T, D)."""
        out: Tensor = self.plain.out_proj(mixed_HTd.transpose(0, 1).flatten(1))
        return out

    def offers(self, tokens_TD: Tensor) -> tuple[Tensor, Tensor]:
        """What cells look for in tokens: (H * T, D), and a constant (H * T, 1) for the biases."""
        offers = self._rows(tokens_TD, self.offering)
        return offers[:, :-1], offers[:, -1:]

    def gifts(self, tokens_TD: Tensor) -> Tensor:
        """What each token gives to a cell, (H * T, D)."""
        return self._rows(tokens_TD, self.giving)

    def softmax_over_tokens(self, logits_GP: Tensor) -> Tensor:
        """Weights of the tokens for each cell and head, (H * T, P)."""
        by_head = logits_GP.view(self.heads, -1, logits_GP.shape[-1])
        return by_head.softmax(1).flatten(0, 1)

    def among_tokens(self, query_TD: Tensor, value_TD: Tensor) -> Tensor:
        """As the plain attention, when queries and keys are the same tokens: (T, D)."""
        weights = self.questions(query_TD) @ query_TD.t()
        by_head = weights.view(self.heads, len(query_TD), -1).softmax(-1)
        gifts = self.gifts(value_TD)
        return by_head.transpose(0, 1).flatten(1) @ gifts


class FoldedBlock:
    """A :class:`TwoWayBlock` for one prompt: (T, D) tokens and (P, D) cells.

    The cells' half is a function of a slice of the cells, so that the caller can do all that it
    wants to do with a slice while that is in cache.
    """

    def __init__(self, plain: TwoWayBlock) -> None:
        self.plain = plain
        self.among = FoldedAttention(plain.self_attn)
        self.to_image = FoldedAttention(plain.token_to_image)
        self.to_token = FoldedAttention(plain.image_to_token)

    def attend_to_self(self, tokens: Tensor, token_pe: Tensor) -> Tensor:
        """Tokens after the self-attention and its norm."""
        block = self.plain
        query = tokens if block.first else tokens + token_pe
        attended = self.among.among_tokens(query, tokens)
        out: Tensor = block.norms[0](attended if block.first else tokens + attended)
        return out

    def update_tokens(self, tokens: Tensor, attended: Tensor) -> Tensor:
        """Tokens after what they found in the image, and the MLP."""
        tokens = self.plain.norms[1](tokens + attended)
        out: Tensor = self.plain.norms[2](tokens + self.plain.mlp(tokens))
        return out

    def cell_update(
        self, tokens: Tensor, token_pe: Tensor, cells: Tensor, positions: Tensor
    ) -> CellUpdate:
        """The next value of a slice of cells, (p, D)."""
        exchange = self._exchange(tokens, token_pe)

        def after(part: slice) -> Tensor:
            keys = cells[part] + positions[part]
            logits = torch.addmm(exchange.bias, exchange.offers, keys.t())
            weights = self.to_token.softmax_over_tokens(logits)
            out: Tensor = exchange.norm(torch.addmm(cells[part], weights.t(), exchange.gifts))
            return out

        return CellUpdate(cells, None, after, lambda: exchange)

    def _exchange(self, tokens: Tensor, token_pe: Tensor) -> Exchange:
        offers, bias = self.to_token.offers(tokens + token_pe)
        norm = self.plain.norms[3]
        assert isinstance(norm, nn.LayerNorm)
        return Exchange(offers, bias, self.to_token.gifts(tokens), self.to_token.heads, norm)

    def ask_first(self, tokens: Tensor, side: ImageSide, dense: DensePrompt) -> FirstAsk:
        """What finds what tokens look for in slices of the image before the first block.

        Means of the values (d) and of the codes (R), side by side. The codes hold afterwards.
        """
        attention = self.to_image
        queries = attention.queries(tokens)
        codes = self._through(attention.plain.k_proj, dense, bias=False)
        folded = torch.bmm(queries, codes)
        if can_ask_first(queries, len(dense.codes)):
            questions = FirstQuestions(
                queries, folded, side.keys, side.values, dense.codes, dense.hints
            )

            def look_and_ask(part: slice) -> Found:
                dense.look(part)
                return Found(*questions(part))

            return look_and_ask

        def ask(part: slice) -> Found:
            dense.fill(part)
            logits = torch.bmm(queries, side.keys[:, :, part])
            rows = logits.flatten(0, 1)
            rows.addmm_(folded.flatten(0, 1), dense.codes[:, part])
            weight = weigh_(rows)
            values = torch.bmm(logits, side.values[:, part]).flatten(0, 1)
            return Found(torch.cat([values, rows @ dense.codes[:, part].t()], 1), weight)

        return ask

    def first_answers(self, found: Sequence[Found], dense: DensePrompt) -> Tensor:
        """What tokens find in all slices before the first block, (T, D)."""
        attention = self.to_image
        codes = self._through(attention.plain.v_proj, dense, bias=True)
        mixed = join(found).view(attention.heads, -1, codes.shape[1] + codes.shape[2])
        values, mixed_codes = mixed.split([codes.shape[1], codes.shape[2]], 2)
        return attention.output(torch.baddbmm(values, mixed_codes, codes.transpose(1, 2)))

    def first_cell_update(
        self, tokens: Tensor, token_pe: Tensor, side: ImageSide, dense: DensePrompt
    ) -> CellUpdate:
        """As :meth:`cell_update`, in the first block."""
        attention = self.to_token

        @cache  # not wanted where the library takes the exchange
        def asked() -> tuple[Tensor, Tensor, Tensor]:
            keys = attention.keys(tokens + token_pe)
            codes = self._through(attention.plain.q_proj, dense, bias=True)
            return keys, torch.bmm(keys, codes).flatten(0, 1), attention.gifts(tokens)

        def after(part: slice) -> Tensor:
            codes, (keys, folded, gifts) = dense.codes[:, part], asked()
            logits = torch.bmm(keys, side.queries[:, :, part]).flatten(0, 1)
            logits.addmm_(folded, codes)
            weights = attention.softmax_over_tokens(logits)
            cells = torch.addmm(side.cells[part], codes.t(), dense.weights)
            out: Tensor = self.plain.norms[3](cells.addmm_(weights.t(), gifts))
            return out

        added = LowRank(dense.codes, dense.weights)
        return CellUpdate(side.cells, added, after, partial(self._exchange, tokens, token_pe))

    def _through(self, layer: nn.Linear, dense: DensePrompt, *, bias: bool) -> Tensor:
        """What a projection of the cells makes of the dense prompt's codes, (H, d, R)."""
        projected = layer.weight @ dense.weights.t()
        if bias:
            projected[:, -1] += layer.bias
        return projected.view(self.to_image.heads, -1, projected.shape[1])


class FoldedUpscale:
    """Cells to finer features: upscaling, skip, layer norm and GELU of :class:`MicroMaskDecoder`.

    A layer norm first takes the mean away; here weights and skip are centred beforehand.
    """

    def __init__(self, plain: MicroMaskDecoder) -> None:
        norm = plain.upscale_norm
        self.width = norm.normalized_shape[0]
        self.norm = norm
        self.weight = self._centre(plain.upscale.weight.t())
        self.bias = plain.upscale.bias

    def _centre(self, x_NC: Tensor) -> Tensor:
        quarters = x_NC.view(len(x_NC), -1, self.width)
        return (quarters - quarters.mean(-1, keepdim=True)).flatten(1).contiguous()

    def skip_by_cell(self, skip_1CHW: Tensor) -> Tensor:
        """Skip features of the four quarters of each cell, (P, 4 * C), with the bias, centred."""
        h, w = skip_1CHW.shape[-2] // 2, skip_1CHW.shape[-1] // 2
        quarters = skip_1CHW[0].view(-1, h, 2, w, 2).permute(1, 3, 2, 4, 0)
        return self._centre(quarters.reshape(h * w, -1) + self.bias)

    def finer(self, skip_PC: Tensor, *, out: Tensor) -> Finer:
        """The same for the compiled library, of all cells."""
        return Finer(self.weight, skip_PC, self.norm, out)

    def __call__(self, cells_PD: Tensor, skip_PC: Tensor, *, out: Tensor) -> None:
        """Features of the quarters of some rows of w cells, into ``out`` (2 * rows, 2 * w, C)."""
        fine = torch.addmm(skip_PC, cells_PD, self.weight).view(-1, self.width)
        spread = torch.linalg.vector_norm(fine, dim=-1, keepdim=True)
        factor = (spread.square_() / self.width).add_(self.norm.eps).rsqrt_()
        rows = out.view(-1, 2, out.shape[1] // 2, 2, self.width)
        fine, factor = (
            x.view(len(rows), -1, 2, 2, x.shape[-1]).transpose(1, 2) for x in (fine, factor)
        )
        torch.mul(fine, factor, out=rows)
        torch.addcmul(self.norm.bias, out, self.norm.weight, out=out)
        torch.ops.aten.gelu_(out)


class Hypernetworks:
    """The mask tokens' networks, all at once."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        layers = [
            [part for part in net.children() if isinstance(part, nn.Linear)] for net in networks
        ]
        self.weights = [
            torch.stack([layer.weight.t() for layer in same]) for same in zip(*layers, strict=True)
        ]
        self.biases = [
            torch.stack([layer.bias[None] for layer in same]) for same in zip(*layers, strict=True)
        ]

    def __call__(self, tokens_MD: Tensor) -> Tensor:
        """One kernel a mask token, (M, C)."""
        x = tokens_MD[:, None]
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x.relu() if index else x, weight)
        return x[:, 0]
