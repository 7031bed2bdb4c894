"""V-JEPA (Bardes et al. 2024) with the attentive pooler of its probe: what JEDi reads, 1280 numbers a clip."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from vitascope.errors import UserError, first_line
from vitascope.evaluate.networks.features import load_state
from vitascope.evaluate.prepare import channels_first

HEADS = 16  # of ViT-H; no file says it
FRAMES = 16  # that the places of the file are of; others are interpolated


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        query, key, value = rearrange(self.qkv(x), "b n (three h c) -> three b h n c", three=3, h=self.heads)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(rearrange(mixed, "b h n c -> b n (h c)"))


class CrossAttention(nn.Module):
    """Of a query over all tokens. Later probes have no projection behind it."""

    def __init__(self, width: int, heads: int, projected: bool) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.kv = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width) if projected else nn.Identity()

    def forward(self, query: Float[Tensor, "b q d"], x: Float[Tensor, "b n d"]) -> Float[Tensor, "b q d"]:
        asked = rearrange(self.q(query), "b q (h c) -> b h q c", h=self.heads)
        key, value = rearrange(self.kv(x), "b n (two h c) -> two b h n c", two=2, h=self.heads)
        mixed = functional.scaled_dot_product_attention(asked, key, value)
        return self.proj(rearrange(mixed, "b h q c -> b q (h c)"))


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        return self.fc2(functional.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.attn, self.mlp = Attention(width, heads), Mlp(width, hidden)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class CrossBlock(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, projected: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.xattn, self.mlp = CrossAttention(width, heads, projected), Mlp(width, hidden)

    def forward(self, query: Float[Tensor, "b q d"], x: Float[Tensor, "b n d"]) -> Float[Tensor, "b q d"]:
        query = query + self.xattn(query, self.norm1(x))
        return query + self.mlp(self.norm2(query))


class Patches(nn.Module):
    """Tubes of pixels to tokens."""

    def __init__(self, width: int, tube: tuple[int, int, int]) -> None:
        super().__init__()
        self.proj = nn.Conv3d(3, width, tube, tube)

    def forward(self, x: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b d _t _h _w"]:
        return self.proj(x)


class Encoder(nn.Module):
    def __init__(
        self, width: int, heads: int, hidden: int, depth: int, tube: tuple[int, int, int], places: int
    ) -> None:
        super().__init__()
        self.tube = tube
        self.patch_embed = Patches(width, tube)
        self.pos_embed = nn.Parameter(torch.zeros(1, places, width))
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, clips: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b n d"]:
        x = self.patch_embed(channels_first(clips))
        x = rearrange(x + self.places(x.shape[2:]), "b d t h w -> b (t h w) d")
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def places(self, size: torch.Size) -> Float[Tensor, "1 d t h w"]:
        """Those of the file are of 16 frames and a square."""
        t = FRAMES // self.tube[0]
        side = round((self.pos_embed.shape[1] / t) ** 0.5)
        known = rearrange(self.pos_embed, "1 (t h w) d -> 1 d t h w", t=t, h=side)
        return known if known.shape[2:] == size else functional.interpolate(known, size=tuple(size), mode="trilinear")


class Pooler(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, projected: bool) -> None:
        super().__init__()
        self.query_tokens = nn.Parameter(torch.zeros(1, 1, width))
        self.cross_attention_block = CrossBlock(width, heads, hidden, projected)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b d"]:
        return self.cross_attention_block(self.query_tokens.expand(len(x), -1, -1), x)[:, 0]


class VJepa(nn.Module):
    """Frames as ImageNet normalises them to the pooled features, before the probe's classifier."""

    def __init__(self, encoder: Encoder, pooler: Pooler) -> None:
        super().__init__()
        self.encoder, self.pooler = encoder, pooler

    def forward(self, clips: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b d"]:
        return self.pooler(self.encoder(clips))

    @classmethod
    def of(cls, state: Mapping[str, Tensor], heads: int = HEADS) -> VJepa:
        """The network that these weights fit; KeyError or RuntimeError where there is none."""
        kernel = state["encoder.patch_embed.proj.weight"]
        width, hidden = kernel.shape[0], state["encoder.blocks.0.mlp.fc1.weight"].shape[0]
        depth = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("encoder.blocks."))
        tube = (kernel.shape[2], kernel.shape[3], kernel.shape[4])
        inner = "pooler.cross_attention_block."
        with torch.device("meta"):
            network = cls(
                Encoder(width, heads, hidden, depth, tube, state["encoder.pos_embed"].shape[1]),
                Pooler(width, heads, state[f"{inner}mlp.fc1.weight"].shape[0], f"{inner}xattn.proj.weight" in state),
            )
        network.load_state_dict(state, assign=True)
        return network.eval().requires_grad_(False)


def load_vjepa(path: Path) -> VJepa:
    """What `evaluate convert vjepa` writes."""
    try:
        return VJepa.of(load_state(path))
    except (UserError, KeyError, RuntimeError) as error:
        raise UserError(
            f"'{path}' holds no V-JEPA with its pooler ({first_line(error)}); make it from the released files with "
            "`vitascope evaluate convert vjepa vith16.pth.tar ssv2-probe.pth.tar --out vjepa.pt`"
        ) from None
