"""STIV's diffusion transformer: factorised attention over space and time, cross attention to text, frame replacement.

Source: Lin et al., "STIV: Scalable Text and Image Conditioned Video Generation", arXiv 2412.07730, section 2.1 and
appendix B. What the paper leaves open is decided here and listed in docs/fidelity.md. Frame replacement itself needs
nothing of this file: known frames arrive clean inside `z`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vitascope.conditions import MICRO, Conditions
from vitascope.config import Config, Count, CountOrZero
from vitascope.nn.attention import Attention
from vitascope.nn.layers import FeedForward, NumberEmbedder, ResidualBlock, modulate, sinusoids, stateless_norm
from vitascope.nn.masking import Places, Visible
from vitascope.nn.positions import Turns, interpolated, rotary_1d, rotary_2d, sincos_2d
from vitascope.types import UserError


class StivConfig(Config):
    """Sizes, and a switch for each row of the paper's ablations (its table 2 and figure 6)."""

    channels: Count = 8
    text_width: Count = 192
    width: Count = 192
    heads: Count = 3
    depth: Count = 8
    tail_blocks: CountOrZero = 0  # MaskDiT: blocks after the dropped tokens have come back
    patch: tuple[Count, Count] = (2, 2)  # frames, rows and columns of a cube
    grid: tuple[Count, Count] = (8, 4)  # token frames, token rows or columns: beyond it RoPE is interpolated
    temporal: bool = True  # False: an image model without temporal attention
    causal_time: bool = False
    modulate_time: bool = False
    qk_norm: bool = True
    sandwich_norm: bool = True
    condition_norm: bool = True
    shared_modulation: bool = True  # False: one AdaLN per block
    positions: Literal["rope", "sincos", "both"] = "rope"  # turned in attention, added to the tokens, or both
    micro_conditions: bool = True
    interpolate_positions: bool = True  # False: extrapolate
    image_context: Literal["none", "linear", "resnet"] = "none"  # how the first frame, if known, joins the text
    text_per_frame: bool = False  # True: keys and values of the text are made anew for each frame; the same numbers

    def build(self) -> Stiv:
        return Stiv(self)

    @property
    def num_modulations(self) -> int:
        """Shift, scale and gate of each modulated branch."""
        return 9 if self.temporal and self.modulate_time else 6


XL = StivConfig(width=1152, heads=18, depth=28, tail_blocks=2, text_width=1280, grid=(10, 16))
XXL = StivConfig(width=1536, heads=24, depth=38, tail_blocks=2, text_width=1280, grid=(10, 16))
M = StivConfig(width=3072, heads=48, depth=46, tail_blocks=2, text_width=1280, grid=(10, 16))


class Modulation(nn.Module):
    """AdaLN: from the singleton condition to shifts, scales and gates; zero at first: blocks begin as nothing."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.layers = nn.Sequential(nn.SiLU(), nn.Linear(width, count * width))

    def forward(self, signal: Float[Tensor, "b t d"]) -> tuple[Float[Tensor, "b t 1 d"], ...]:
        return self.layers(signal)[:, :, None].chunk(self.count, -1)


class Block(ResidualBlock):
    """Space, then time, then text, then the feed-forward layer, each added to the stream."""

    def __init__(self, config: StivConfig) -> None:
        super().__init__()
        width, heads, qk_norm = config.width, config.heads, config.qk_norm
        self.space = Attention(width, heads, "space", qk_norm=qk_norm)
        self.time = (
            Attention(width, heads, "time", qk_norm=qk_norm, causal=config.causal_time) if config.temporal else None
        )
        self.text = Attention(width, heads, "text", context_width=width, qk_norm=qk_norm)
        self.text_per_frame = config.text_per_frame
        self.mlp = FeedForward(width)
        self.own = None if config.shared_modulation else Modulation(width, config.num_modulations)
        self.leave_norm = stateless_norm if config.sandwich_norm else nn.Identity()

    def forward(
        self,
        x: Float[Tensor, "b t n d"],
        signal: Float[Tensor, "b t d"],
        shared: tuple[Tensor, ...],
        text: Float[Tensor, "b l d"],
        text_mask: Bool[Tensor, "b l"],
        places: Places,
    ) -> Float[Tensor, "b t n d"]:
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp, *of_time = self.own(signal) if self.own else shared
        in_space, in_time = places
        y = self.space(modulate(stateless_norm(x), shift, scale), turns=in_space)
        x = torch.addcmul(x, gate, self.leave_norm(y))
        if self.time is not None and x.shape[1] > 1:
            x = self.through_time(x, of_time, in_time)
        x = x + self.to_text(stateless_norm(x), text, text_mask)
        y = self.mlp(modulate(stateless_norm(x), shift_mlp, scale_mlp))
        return torch.addcmul(x, gate_mlp, self.leave_norm(y))

    def through_time(self, x: Tensor, modulation: list[Tensor], places: Turns | None) -> Tensor:
        """A place through time. Without modulation: norm before only, and an output that is zero at first (no gate
        would hold back a normed output when time is added to a trained image model)."""
        assert self.time is not None
        y = stateless_norm(x)
        if not modulation:
            return x + self.time(y, turns=places, along=-3)
        shift, scale, gate = modulation
        y = self.time(modulate(y, shift, scale), turns=places, along=-3)
        return torch.addcmul(x, gate, self.leave_norm(y))

    def to_text(self, x: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        if self.text_per_frame:
            per_frame = text[:, None].expand(-1, x.shape[1], -1, -1)
            return self.text(x, context=per_frame, mask=text_mask[:, None].expand(-1, x.shape[1], -1))
        flat = rearrange(x, "b t n d -> b (t n) d")
        return self.text(flat, context=text, mask=text_mask).view_as(x)


class FirstFrame(nn.Module):
    """The first frame as further tokens beside the text: cross attention to the image (STIV's table 3).

    The paper does not say of what the image's tokens are made. Here they are cells of its clean latent, projected by a
    linear layer or by two residual convolutions before it ("large projection"), with sines and cosines of their places.
    """

    def __init__(self, config: StivConfig) -> None:
        super().__init__()
        self.side, self.width = config.patch[1], config.width
        channels, width = config.channels, config.width
        self.convolutions = (
            nn.ModuleList([nn.Conv2d(channels, width, 3, padding=1), *(Convolutions(width) for _ in range(2))])
            if config.image_context == "resnet"
            else nn.ModuleList()
        )
        self.enter = nn.Linear((width if self.convolutions else channels) * self.side**2, width)

    def join(
        self, text: Float[Tensor, "b l d"], mask: Bool[Tensor, "b l"], cond: Conditions
    ) -> tuple[Float[Tensor, "b m d"], Bool[Tensor, "b m"]]:
        """The text with the first frame's tokens after it, which are real where that frame is known."""
        tokens = self(cond.frames[:, 0].to(text.dtype))
        is_known = cond.known[:, :1].expand(-1, tokens.shape[1])
        return torch.cat([text, tokens.to(text.dtype)], 1), torch.cat([mask, is_known], 1)

    def forward(self, frame: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        rows, columns = (torch.arange(size // self.side, device=frame.device) for size in frame.shape[-2:])
        for layer in self.convolutions:
            frame = layer(frame)
        cells = rearrange(frame, "b c (h q) (w r) -> b (h w) (c q r)", q=self.side, r=self.side)
        places = sincos_2d(rows.float().repeat_interleave(len(columns)), columns.float().repeat(len(rows)), self.width)
        return self.enter(cells) + places


class Convolutions(nn.Module):
    """A residual block of two convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        return x + self.two(nn.functional.silu(self.one(nn.functional.silu(x))))


class Stiv(nn.Module):
    """The backbone: cubes of latents in, cubes of velocity out."""

    hides_tokens = True  # without tail blocks it refuses to

    def __init__(self, config: StivConfig) -> None:
        super().__init__()
        if config.width % (4 * config.heads):
            raise UserError(
                f"a head needs a multiple of 4 dimensions, pairs for the row and pairs for the column; got width "
                f"{config.width} and {config.heads} heads: set backbone.width to a multiple of {4 * config.heads}"
            )
        self.config, width = config, config.width
        self.channels, self.text_width, self.patch, self.width = config.channels, config.text_width, config.patch, width
        cube = config.patch[0] * config.patch[1] ** 2 * config.channels
        self.enter = nn.Linear(cube, width)
        self.level = NumberEmbedder(width, scale=1000.0)
        self.micro = nn.Sequential(nn.Linear(64 * len(MICRO), width), nn.SiLU(), nn.Linear(width, width))
        self.pooled = nn.Linear(config.text_width, width)
        self.text = nn.Linear(config.text_width, width)
        self.image = FirstFrame(config) if config.image_context != "none" else None
        self.modulation = Modulation(width, config.num_modulations) if config.shared_modulation else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth + config.tail_blocks))
        self.mask_token = nn.Parameter(torch.zeros(width)) if config.tail_blocks else None
        self.leave_modulation = Modulation(width, 2)
        self.leave = nn.Linear(width, cube)
        self.initialise()

    def initialise(self) -> None:
        """Xavier everywhere; zero where a new branch must begin as nothing (DiT, appendix A)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        silent = [self.leave, *(module.layers[1] for module in self.modules() if isinstance(module, Modulation))]
        if not self.config.modulate_time:
            silent += [block.time.leave for block in self.blocks if isinstance(block, Block) and block.time is not None]
        for layer in silent:
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.weight)

    def forward(
        self,
        z: Float[Tensor, "b t c h w"],
        level: Float[Tensor, "b t"],
        cond: Conditions,
        visible: Bool[Tensor, "b *t h w"] | None = None,
    ) -> Float[Tensor, "b t c h w"]:
        """The velocity. `visible` names the latent cells that the main blocks may see, the same number in every sample:
        of each frame that is seen at all the same cells (MaskDiT with a tube mask); None: all of them."""
        x, rows, columns = self.cubify(z)  # b s n d, s cubes in time
        signal = self.singleton(level, cond)  # b s d
        shared = self.modulation(signal) if self.modulation else ()
        text, text_mask = self.text(cond.text.tokens.to(self.text.weight.dtype)), cond.text.mask
        if self.image is not None:
            text, text_mask = self.image.join(text, text_mask, cond)
        places = self.places(x.shape[1], rows, columns, z.device)
        fixed = self.fixed_places(x.shape[1], rows, columns, z.device).to(x.dtype)  # zero with rotary positions
        x = x + fixed

        kept = None if visible is None else self.tokens_of(visible)
        seen, seen_signal, seen_shared, seen_places = x, signal, shared, places
        if kept is not None:
            seen, seen_places = kept.tokens(x), kept.turns(places)
            seen_signal, seen_shared = kept.in_time(signal), tuple(map(kept.in_time, shared))
        main = len(self.blocks) - self.config.tail_blocks
        for block in self.blocks[:main]:
            seen = block(seen, seen_signal, seen_shared, text, text_mask, seen_places)
        x = seen if kept is None else kept.restore(seen, self.blank(fixed, x))
        for block in self.blocks[main:]:
            x = block(x, signal, shared, text, text_mask, places)

        shift, scale = self.leave_modulation(signal)
        return self.uncubify(self.leave(modulate(stateless_norm(x), shift, scale)), z.shape[1], rows)

    def singleton(self, level: Float[Tensor, "b t"], cond: Conditions) -> Float[Tensor, "b s d"]:
        """Level, micro-conditions and pooled text, each projected and normed, then summed (STIV, section 2.1)."""
        norm = stateless_norm if self.config.condition_norm else nn.Identity()
        frames = self.config.patch[0]
        last = level[:, -1:].expand(-1, -level.shape[1] % frames)  # a repeated frame has its own level
        per_cube = torch.cat([level, last], 1).unflatten(1, (-1, frames)).mean(-1)
        signal = norm(self.level(per_cube)) + norm(self.pooled(cond.text.pooled.to(self.pooled.weight.dtype)))[:, None]
        if self.config.micro_conditions:
            numbers = sinusoids(cond.micro, 64).flatten(1).to(signal.dtype)
            signal = signal + norm(self.micro(numbers))[:, None]
        return signal

    def cubify(self, z: Float[Tensor, "b t c h w"]) -> tuple[Float[Tensor, "b s n d"], int, int]:
        """Cut into cubes. A length that the cube does not divide (an image: one frame) repeats its last frame."""
        frames, side = self.config.patch
        if z.shape[-2] % side or z.shape[-1] % side:
            raise ValueError(f"latents must be multiples of the patch {side} high and wide, got {tuple(z.shape[-2:])}")
        repeats = z[:, -1:].expand(-1, -z.shape[1] % frames, -1, -1, -1)
        cubes = rearrange(
            torch.cat([z, repeats], 1), "b (t p) c (h q) (w r) -> b t (h w) (p q r c)", p=frames, q=side, r=side
        )
        return self.enter(cubes), z.shape[-2] // side, z.shape[-1] // side

    def uncubify(self, cubes: Float[Tensor, "b s n k"], num_frames: int, rows: int) -> Float[Tensor, "b t c h w"]:
        """The inverse; a frame that was shown several times is answered by the mean of its answers."""
        frames, side = self.config.patch
        z = rearrange(cubes, "b t (h w) (p q r c) -> b (t p) c (h q) (w r)", p=frames, q=side, r=side, h=rows)
        if z.shape[1] == num_frames:
            return z
        return torch.cat([z[:, : num_frames - 1], z[:, num_frames - 1 :].mean(1, keepdim=True)], 1)

    def inflate(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a model with shorter cubes, for this one's: what enters is spread over the frames, what leaves
        is repeated (I3D's rule, Carreira and Zisserman 2017). Of frames that are alike both models make the same."""
        given = dict(state)
        for name, dim in (("enter.weight", 1), ("leave.weight", 0), ("leave.bias", 0)):
            if name in given and (times := self.times_longer(given[name].shape[dim])) > 1:
                given[name] = torch.cat([given[name]] * times, dim) / (times if dim == 1 else 1)
        return given

    def times_longer(self, numbers: int) -> int:
        """How many times as long in time this model's cubes are as those of so many numbers; 1 if those are no cubes of
        this model's patch and channels: weights of another shape are refused where they are taken."""
        (frames, side), channels = self.config.patch, self.config.channels
        theirs, rest = divmod(numbers, side**2 * channels)
        return frames // theirs if theirs and not rest and frames % theirs == 0 else 1

    def grid(self, frames: int, rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Positions in time, of rows and of columns; the last two per token of a frame."""
        trained_frames, trained_side = (
            self.config.grid if self.config.interpolate_positions else (frames, max(rows, columns))
        )
        time = interpolated(frames, trained_frames, device)
        row, column = interpolated(rows, trained_side, device), interpolated(columns, trained_side, device)
        return time, row.repeat_interleave(columns), column.repeat(rows)

    def places(self, frames: int, rows: int, columns: int, device: torch.device) -> Places:
        if self.config.positions == "sincos":
            return None, None
        time, row, column = self.grid(frames, rows, columns, device)
        dim = self.config.width // self.config.heads
        return rotary_2d(row, column, dim), rotary_1d(time, dim)

    def fixed_places(self, frames: int, rows: int, columns: int, device: torch.device) -> Float[Tensor, "#t #n #d"]:
        """What is added to the tokens: sines and cosines of their places, or nothing where attention turns them."""
        if self.config.positions == "rope":
            return torch.zeros(1, 1, 1, device=device)
        time, row, column = self.grid(frames, rows, columns, device)
        return sinusoids(time, self.config.width)[:, None] + sincos_2d(row, column, self.config.width)

    def tokens_of(self, visible: Bool[Tensor, "b *t h w"]) -> Visible:
        if self.mask_token is None:
            raise UserError(
                "a model without tail blocks cannot learn from masked tokens; "
                "set backbone.tail_blocks to 2 or lesson.mask_share to 0"
            )
        return Visible.of_cells(visible, self.config.patch)

    def blank(self, fixed: Float[Tensor, "#t #n #d"], x: Float[Tensor, "b t n d"]) -> Float[Tensor, "b t n d"]:
        """A mask token at every place of `x`."""
        assert self.mask_token is not None  # tokens_of has seen to it
        return (self.mask_token + fixed).to(x.dtype).expand(x.shape)
