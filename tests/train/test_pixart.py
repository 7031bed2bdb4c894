"""Laws of beginning with a PixArt: its blocks compute the same in ours, and nothing is left out in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tiny import tiny_model, tiny_run
from vitascope.backbones.stiv import StivConfig
from vitascope.nn.positions import rotary_2d
from vitascope.recipes import resolve
from vitascope.train.beginning import started
from vitascope.train.folder import refuse_missing_stages
from vitascope.train.initialise import Origin, inherit, initialised, weights_of
from vitascope.train.loop import fit
from vitascope.train.pixart import TAKEN, is_pixart
from vitascope.train.stages import Run, VideoStage
from vitascope.types import UserError

diffusers = pytest.importorskip("diffusers")
WIDTH, HEADS = 32, 2


def pixart(folder: Path) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = diffusers.PixArtTransformer2DModel(
            num_attention_heads=HEADS,
            attention_head_dim=WIDTH // HEADS,
            in_channels=4,
            out_channels=8,
            num_layers=2,
            cross_attention_dim=WIDTH,
            sample_size=8,
            patch_size=2,
            caption_channels=12,
        )
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    network.save_pretrained(folder)
    return network.eval()


def model_config(**changes: object) -> Any:
    backbone = {"channels": 4, "text_width": 32, "width": WIDTH, "heads": HEADS, "depth": 2, "qk_norm": False}
    return tiny_model().model_copy(update={"backbone": StivConfig(**{**backbone, "patch": (2, 1), **changes})})


def fresh(config: Any) -> tuple[str, ...]:
    names = initialised(config, 0).state_dict()
    taken = ("space.enter", "space.leave", "text.query", "text.enter", "text.leave", "mlp.")
    main = tuple(f"backbone.blocks.{block}." for block in range(config.backbone.depth))
    return tuple(name for name in names if not (name.startswith(main) and any(f".{part}" in name for part in taken)))


def test_attention_and_feed_forward_compute_what_they_did(tmp_path: Path) -> None:
    theirs, config = pixart(tmp_path), model_config()
    ours = initialised(config, 1)
    inherit(ours, [(Origin(of="pixart/", weights=TAKEN), weights_of(tmp_path))], fresh(config))
    rng = torch.Generator().manual_seed(1)
    x, text = (torch.randn(2, length, WIDTH, generator=rng) for length in (9, 5))
    for block, block_of_theirs in zip(ours.backbone.blocks, theirs.transformer_blocks, strict=True):
        with torch.no_grad():
            torch.testing.assert_close(block.space(x), block_of_theirs.attn1(x), rtol=1e-4, atol=1e-4)
            told = block.text(x, context=text, mask=torch.ones(2, 5, dtype=torch.bool))
            torch.testing.assert_close(told, block_of_theirs.attn2(x, text), rtol=1e-4, atol=1e-4)
            block.mlp[1] = nn.GELU(approximate="tanh")  # ours is the exact one
            torch.testing.assert_close(block.mlp(x), block_of_theirs.ff(x), rtol=1e-4, atol=1e-4)
            turns = rotary_2d(torch.arange(9.0), torch.arange(9.0), WIDTH // HEADS)
            assert not torch.allclose(block.space(x, turns=turns), block.space(x))  # positions are ours


def test_a_stage_can_begin_with_it(tmp_path: Path, cache: Path) -> None:
    pixart(tmp_path / "pixart")
    config = model_config()
    origin = Origin(of=str(tmp_path / "pixart"), weights=TAKEN)
    stage = VideoStage(
        name="videos", steps=1, batch=2, num_clips=8, begins=(origin,), fresh=fresh(config), learning_rate=1e-12
    )
    run = tiny_run(stage, preview_steps=100).model_copy(update={"model": config})
    trained = fit(run, tmp_path / "run", cache_root=cache).state_dict()
    for name, value in weights_of(tmp_path / "pixart").items():
        torch.testing.assert_close(trained[name], value, rtol=0, atol=1e-8)


def test_names_are_matched_completely_or_it_is_refused(tmp_path: Path) -> None:
    pixart(tmp_path)
    assert is_pixart(tmp_path)
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    whole = load_file(file)
    lacking = "transformer_blocks.1.attn2.to_k.bias"
    save_file({name: value for name, value in whole.items() if name != lacking}, file)
    with pytest.raises(UserError, match=rf"it lacks {lacking}"):
        weights_of(tmp_path)
    save_file({**whole, "transformer_blocks.0.attn3.to_q.weight": torch.zeros(2)}, file)
    with pytest.raises(UserError, match=r"it also has transformer_blocks\.0\.attn3\.to_q\.weight"):
        weights_of(tmp_path)
    file.write_bytes(b"no weights")
    with pytest.raises(UserError, match="no readable weights"):
        weights_of(tmp_path)


def test_another_depth_or_width_names_what_does_not_fit(tmp_path: Path) -> None:
    pixart(tmp_path)
    for changes, said in (({"depth": 3}, "lacks 14 of the weights"), ({"width": 64}, "another shape")):
        config = model_config(**changes)
        with pytest.raises(UserError, match=said):
            inherit(initialised(config, 0), [(Origin(of="p/", weights=TAKEN), weights_of(tmp_path))], fresh(config))


def asked(**changes: object) -> Run:
    stage = VideoStage(name="videos", steps=1, batch=2, num_clips=8, learning_rate=1e-12)
    return tiny_run(stage, preview_steps=100).model_copy(update={"model": model_config(**changes)})


@pytest.mark.parametrize("tail", [0, 2])
def test_the_command_begins_with_it_and_says_what_begins_anew(tail: int, tmp_path: Path, cache: Path) -> None:
    """Blocks that come after the hidden tokens have returned are none of PixArt's."""
    pixart(tmp_path / "pixart")
    run = started(asked(tail_blocks=tail), tmp_path / "pixart", None)
    (begun,) = run.stages
    assert set(begun.fresh) == set(fresh(run.model))
    assert begun.begins == (Origin(of=str(tmp_path / "pixart"), weights=TAKEN),)
    trained = fit(run, tmp_path / "run", cache_root=cache).state_dict()
    given, first = weights_of(tmp_path / "pixart"), initialised(run.model, run.seed).state_dict()
    for name in (*given, *(name for name in first if name.startswith(("backbone.blocks.2.", "backbone.blocks.3.")))):
        torch.testing.assert_close(trained[name], given.get(name, first[name]), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"depth": 1}, r"2 blocks and the backbone 1 .*backbone\.blocks\.1 of the PixArt.*backbone\.depth=2"),
        # Else the PixArt's second block would be taken for the first one of the tail, and dropped.
        ({"depth": 1, "tail_blocks": 2}, r"backbone\.blocks\.1 of the PixArt"),
        ({"depth": 4}, r"backbone\.blocks\.2, backbone\.blocks\.3 of the backbone"),
        ({"depth": 4, "tail_blocks": 2}, r"backbone\.blocks\.2, backbone\.blocks\.3 of the backbone"),
        ({"heads": 4}, r"2 heads and the backbone 4; set model\.backbone\.heads=2"),
        ({"depth": 1, "heads": 4}, r"backbone\.depth=2\. Also: .*backbone\.heads=2"),
    ],
)
def test_the_command_refuses_other_blocks_or_heads(changes: dict[str, object], said: str, tmp_path: Path) -> None:
    pixart(tmp_path)
    with pytest.raises(UserError, match=said):
        started(asked(**changes), tmp_path, None)


def test_the_preset_has_pixarts_sizes_and_no_stage_of_pictures() -> None:
    run = resolve("stiv:xl_256_pixart")
    backbone = run.model.backbone
    assert isinstance(backbone, StivConfig)
    assert (backbone.width, backbone.heads, backbone.depth, backbone.channels) == (1152, 16, 28, 4)
    assert [stage.name for stage in run.stages] == ["t2v", "t2v_whole", "ti2v", "ti2v_whole"]


def test_the_preset_is_not_trained_from_nothing(tmp_path: Path) -> None:
    run = resolve("stiv:xl_256_pixart")
    with pytest.raises(UserError, match=r"stage t2v begins with a model.*--from"):
        refuse_missing_stages(run, run.stages, tmp_path)
