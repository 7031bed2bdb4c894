"""Tiny checkpoints in the layout of the released ones, and what their definition gives, written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from typer.testing import CliRunner

from vitascope import cli
from vitascope.errors import UserError
from vitascope.evaluate.catalogue import Networks, metrics_named
from vitascope.evaluate.networks import converting
from vitascope.evaluate.networks.pretrained import VideoMaeNetwork
from vitascope.evaluate.networks.vjepa import VJepa
from vitascope.evaluate.protocol import protocol_named

WIDTH, HIDDEN, PATCH, TUBE = 32, 40, 112, 2
CLIPS = torch.rand(2, 16, 3, 224, 224, generator=torch.Generator().manual_seed(0))
State = dict[str, Tensor]


def drawn(seed: int, **shapes: tuple[int, ...]) -> State:
    rng = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=rng) * 0.15 for name, shape in shapes.items()}


def block(start: str, seed: int, attention: dict[str, tuple[int, ...]]) -> State:
    shapes = {
        "norm1.weight": (WIDTH,), "norm1.bias": (WIDTH,), "norm2.weight": (WIDTH,), "norm2.bias": (WIDTH,),
        "mlp.fc1.weight": (HIDDEN, WIDTH), "mlp.fc1.bias": (HIDDEN,), "mlp.fc2.weight": (WIDTH, HIDDEN),
        "mlp.fc2.bias": (WIDTH,), **attention,
    }  # fmt: skip
    return {start + name: value for name, value in drawn(seed, **shapes).items()}


def normed(x: Tensor, state: State, name: str, eps: float = 1e-6) -> Tensor:
    return functional.layer_norm(x, (WIDTH,), state[f"{name}.weight"], state[f"{name}.bias"], eps)


def linear(x: Tensor, state: State, name: str) -> Tensor:
    return functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def perceptron(x: Tensor, state: State, name: str) -> Tensor:
    return linear(functional.gelu(linear(x, state, f"{name}.fc1")), state, f"{name}.fc2")


def mixed(query: Tensor, key: Tensor, value: Tensor, heads: int = 16) -> Tensor:
    """Attention head by head, written out."""
    parts = zip(*(one.chunk(heads, -1) for one in (query, key, value)), strict=True)
    return torch.cat([(q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v for q, k, v in parts], -1)


def tubes(state: State) -> Tensor:
    """Tokens of tubes of pixels, time first, then rows."""
    kernel, bias = state["patch_embed.proj.weight"], state["patch_embed.proj.bias"]
    x = functional.conv3d(CLIPS.transpose(1, 2), kernel, bias, stride=kernel.shape[2:])
    return x.flatten(2).mT


def videomae(depth: int = 2) -> State:
    state = drawn(1, **{"patch_embed.proj.weight": (WIDTH, 3, TUBE, PATCH, PATCH), "patch_embed.proj.bias": (WIDTH,)})
    state["patch_embed.proj.weight"] /= 20
    qkv = {"attn.qkv.weight": (3 * WIDTH, WIDTH), "attn.q_bias": (WIDTH,), "attn.v_bias": (WIDTH,),
           "attn.proj.weight": (WIDTH, WIDTH), "attn.proj.bias": (WIDTH,)}  # fmt: skip
    for number in range(depth):
        state |= block(f"blocks.{number}.", 2 + number, qkv)
    last = {"fc_norm.weight": (WIDTH,), "fc_norm.bias": (WIDTH,), "head.weight": (5, WIDTH), "head.bias": (5,)}
    return state | drawn(9, **last)


def features_of_videomae(state: State) -> Tensor:
    x = tubes(state)
    place, column = torch.arange(x.shape[1], dtype=torch.float64)[:, None], torch.arange(WIDTH)
    angle = place / 10000 ** (2 * (column // 2).double() / WIDTH)
    x = x + torch.where(column % 2 == 0, angle.sin(), angle.cos()).float()
    for number in range(2):
        name = f"blocks.{number}"
        query, key, value = functional.linear(
            normed(x, state, f"{name}.norm1"), state[f"{name}.attn.qkv.weight"]
        ).chunk(3, -1)
        heard = mixed(query + state[f"{name}.attn.q_bias"], key, value + state[f"{name}.attn.v_bias"])
        x = x + linear(heard, state, f"{name}.attn.proj")
        x = x + perceptron(normed(x, state, f"{name}.norm2"), state, f"{name}.mlp")
    return normed(x.mean(1), state, "fc_norm")


def vjepa(projected: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two files, as training wrote them."""
    places = 8 * (224 // PATCH) ** 2
    encoder = drawn(
        1, **{"patch_embed.proj.weight": (WIDTH, 3, TUBE, PATCH, PATCH), "patch_embed.proj.bias": (WIDTH,),
              "pos_embed": (1, places, WIDTH), "norm.weight": (WIDTH,), "norm.bias": (WIDTH,)}
    )  # fmt: skip
    encoder["patch_embed.proj.weight"] /= 20
    qkv = {"attn.qkv.weight": (3 * WIDTH, WIDTH), "attn.qkv.bias": (3 * WIDTH,), "attn.proj.weight": (WIDTH, WIDTH),
           "attn.proj.bias": (WIDTH,)}  # fmt: skip
    for number in range(2):
        encoder |= block(f"blocks.{number}.", 2 + number, qkv)
    cross = {"xattn.q.weight": (WIDTH, WIDTH), "xattn.q.bias": (WIDTH,), "xattn.kv.weight": (2 * WIDTH, WIDTH),
             "xattn.kv.bias": (2 * WIDTH,)}  # fmt: skip
    if projected:
        cross |= {"xattn.proj.weight": (WIDTH, WIDTH), "xattn.proj.bias": (WIDTH,)}
    pooler = {"pooler.query_tokens": torch.ones(1, 1, WIDTH)} | block("pooler.cross_attention_block.", 7, cross)
    head = drawn(8, **{"linear.weight": (5, WIDTH), "linear.bias": (5,)})
    trained = {f"module.backbone.{name}": value for name, value in encoder.items()}
    other = {name: torch.zeros_like(value) for name, value in trained.items()}
    return (
        {"encoder": other, "target_encoder": trained, "epoch": 300, "opt": {"state": {}}},
        {"classifier": {f"module.{name}": value for name, value in (pooler | head).items()}, "epoch": 20},
    )


def features_of_vjepa(encoder: dict[str, Any], probe: dict[str, Any]) -> Tensor:
    state = {name.removeprefix("module.backbone."): value for name, value in encoder["target_encoder"].items()}
    x = tubes(state) + state["pos_embed"]
    for number in range(2):
        name = f"blocks.{number}"
        heard = mixed(*linear(normed(x, state, f"{name}.norm1"), state, f"{name}.attn.qkv").chunk(3, -1))
        x = x + linear(heard, state, f"{name}.attn.proj")
        x = x + perceptron(normed(x, state, f"{name}.norm2"), state, f"{name}.mlp")
    x, state = normed(x, state, "norm"), probe["classifier"]
    start = "module.pooler.cross_attention_block"
    query = state["module.pooler.query_tokens"].expand(len(x), 1, -1)
    key, value = linear(normed(x, state, f"{start}.norm1", 1e-5), state, f"{start}.xattn.kv").chunk(2, -1)
    heard = mixed(linear(query, state, f"{start}.xattn.q"), key, value)
    query = query + (linear(heard, state, f"{start}.xattn.proj") if f"{start}.xattn.proj.bias" in state else heard)
    return (query + perceptron(normed(query, state, f"{start}.norm2", 1e-5), state, f"{start}.mlp"))[:, 0]


def run(*words: str) -> None:
    result = CliRunner().invoke(cli.app, ["evaluate", "convert", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("wrapped", [None, "module", "model"])
def test_a_videomae_of_its_own_code_is_read_by_transformers(wrapped: str | None, tmp_path: Path):
    state = videomae()
    torch.save(state if wrapped is None else {wrapped: state}, tmp_path / "released.pth")
    run("videomae", str(tmp_path / "released.pth"), "--out", str(tmp_path / "folder"))
    with torch.inference_mode():
        found = VideoMaeNetwork(tmp_path / "folder", torch.device("cpu")).clips(CLIPS)
    torch.testing.assert_close(found, features_of_videomae(state), rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match="name another place"):
        run("videomae", str(tmp_path / "released.pth"), "--out", str(tmp_path / "folder"))


@pytest.mark.parametrize("projected", [True, False])
def test_a_vjepa_and_its_probe_become_one_file(projected: bool, tmp_path: Path):
    files = vjepa(projected)
    for name, content in zip(("e.tar", "p.tar"), files, strict=True):
        torch.save(content, tmp_path / name)
    run("vjepa", *(str(tmp_path / name) for name in ("e.tar", "p.tar")), "--out", str(tmp_path / "vjepa.pt"))
    networks = Networks({"vjepa": tmp_path / "vjepa.pt"}, protocol_named("vitascope"))
    (metric,) = metrics_named(["jedi"], networks)
    assert metric.name == "jedi"
    network = VJepa.of(torch.load(tmp_path / "vjepa.pt", weights_only=True))
    with torch.inference_mode():
        torch.testing.assert_close(network(CLIPS), features_of_vjepa(*files), rtol=1e-4, atol=1e-4)
        assert network(CLIPS[:, :8]).shape == (2, WIDTH)  # places of fewer frames lie between those known


def test_files_of_another_kind_are_told(tmp_path: Path):
    torch.save({"epoch": 1}, tmp_path / "other.pth")
    other, out = str(tmp_path / "other.pth"), str(tmp_path / "out")
    for words, told in (
        (["videomae", other], "must be vit_g_hybrid_pt_1200e_ssv2_ft.pth, and cannot be read so"),
        (["vjepa", other], r"is made of vith16\.pth\.tar and ssv2-probe\.pth\.tar; got 1"),
        (["vjepa", other, other], "it has no 'target_encoder'"),
        (["i3d", other], "nothing is known to convert for 'i3d'"),
    ):
        with pytest.raises(UserError, match=told):
            run(*words, "--out", out)
    assert not Path(out).exists()
    with pytest.raises(UserError, match="evaluate convert vjepa"):
        metrics_named(["jedi"], Networks({"vjepa": tmp_path / "other.pth"}, protocol_named("vitascope")))
    assert converting.CONVERSIONS.keys() == {"videomae", "vjepa"}
