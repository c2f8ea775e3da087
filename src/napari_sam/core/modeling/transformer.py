"""The two-way transformer between prompt tokens and image cells. Knows torch only.

Attribute names are those of the published checkpoints. T counts tokens, P image cells.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from napari_sam.core.modeling.common import MLPBlock


class TwoWayTransformer(nn.Module):
    """Tokens and image attend to each other (SAM, appendix A, "Lightweight mask decoder").

    Parameters
    ----------
    dim
        Width of tokens and image cells.
    depth
        Number of two-way blocks.
    num_heads
        Attention heads; divides half of ``dim``.
    mlp_dim
        Hidden width of the blocks' MLPs.
    """

    def __init__(self, dim: int, *, depth: int, num_heads: int, mlp_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(dim, num_heads, mlp_dim=mlp_dim, first=index == 0)
            for index in range(depth)
        )
        self.final_attn_token_to_image = Attention(dim, num_heads, inner_dim=dim // 2)
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(
        self, tokens_BTD: Tensor, image_BPD: Tensor, *, image_pe_1PD: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Let tokens and image exchange what they know.

        Parameters
        ----------
        tokens_BTD
            (B, T, D) output and prompt tokens; their first value also serves as their position.
        image_BPD
            (B, P, D) image cells in raster order.
        image_pe_1PD
            (1, P, D) positions of the image cells.

        Returns
        -------
        tuple of Tensor
            Updated tokens (B, T, D) and image cells (B, P, D).
        """
        queries, keys = tokens_BTD, image_BPD
        for layer in self.layers:
            queries, keys = layer(queries, keys, query_pe=tokens_BTD, key_pe=image_pe_1PD)
        attended = self.final_attn_token_to_image(queries + tokens_BTD, keys + image_pe_1PD, keys)
        return self.norm_final_attn(queries + attended), keys


class TwoWayAttentionBlock(nn.Module):
    """Self-attention of tokens, tokens to image, MLP, image to tokens; a norm after each.

    In the first block the self-attention sees no positions and replaces the tokens, instead of
    being added to them.
    """

    def __init__(self, dim: int, num_heads: int, *, mlp_dim: int, first: bool) -> None:
        super().__init__()
        self.self_attn = Attention(dim, num_heads, inner_dim=dim)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = Attention(dim, num_heads, inner_dim=dim // 2)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLPBlock(dim, mlp_dim, act=nn.ReLU)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = Attention(dim, num_heads, inner_dim=dim // 2)
        self.first = first

    def forward(
        self, queries: Tensor, keys: Tensor, *, query_pe: Tensor, key_pe: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Map tokens (B, T, D) and image cells (B, P, D) to their next values."""
        if self.first:
            queries = self.self_attn(queries, queries, queries)
        else:
            placed = queries + query_pe
            queries = queries + self.self_attn(placed, placed, queries)
        queries = self.norm1(queries)

        placed_keys = keys + key_pe
        attended = self.cross_attn_token_to_image(queries + query_pe, placed_keys, keys)
        queries = self.norm2(queries + attended)
        queries = self.norm3(queries + self.mlp(queries))

        attended = self.cross_attn_image_to_token(placed_keys, queries + query_pe, queries)
        return queries, self.norm4(keys + attended)


class Attention(nn.Module):
    """Multi-head attention between two sequences; ``inner_dim`` is the width of all heads."""

    def __init__(self, dim: int, num_heads: int, *, inner_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, inner_dim)
        self.k_proj = nn.Linear(dim, inner_dim)
        self.v_proj = nn.Linear(dim, inner_dim)
        self.out_proj = nn.Linear(inner_dim, dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Map queries (B, N, D), keys and values (B, M, D) to (B, N, D)."""
        attended = F.scaled_dot_product_attention(
            self._heads(self.q_proj(q)), self._heads(self.k_proj(k)), self._heads(self.v_proj(v))
        )
        out: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return out

    def _heads(self, x_BND: Tensor) -> Tensor:
        """(B, N, D) to (B, heads, N, d)."""
        B, N, D = x_BND.shape
        return x_BND.view(B, N, self.num_heads, D // self.num_heads).transpose(1, 2)
