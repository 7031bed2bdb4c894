"""Tiny pipelines of families that the code does not name anywhere: what the adapter reads of them must be enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import transformers
from families import clip_text, clip_vision, image_vae, ltx, t5, umt5, wan_transformer, wan_vae


def skyreels() -> Any:
    return diffusers.SkyReelsV2Pipeline(transformer=skyreels_transformer(), **skyreels_parts())


def skyreels_i2v() -> Any:
    image_encoder, image_processor = clip_vision(16)
    return diffusers.SkyReelsV2ImageToVideoPipeline(
        transformer=skyreels_transformer(in_channels=36, image_dim=32), image_encoder=image_encoder,
        image_processor=image_processor, **skyreels_parts(),
    )  # fmt: skip


def skyreels_transformer(**changes: Any) -> Any:
    settings: dict[str, Any] = {
        "num_attention_heads": 2, "attention_head_dim": 12, "text_dim": 32, "freq_dim": 32, "ffn_dim": 32,
        "num_layers": 1, **changes,
    }  # fmt: skip
    return diffusers.SkyReelsV2Transformer3DModel(**settings)


def skyreels_parts() -> dict[str, Any]:
    scheduler = diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)
    return {"vae": wan_vae(), "scheduler": scheduler, **umt5()}


def modelscope() -> Any:
    """Text to video in a U-Net over time, which calls nobody back between its steps."""
    unet = diffusers.UNet3DConditionModel(
        block_out_channels=(8, 8), layers_per_block=1, sample_size=4, norm_num_groups=2, cross_attention_dim=32,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"), attention_head_dim=4,
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
    )  # fmt: skip
    vae = image_vae(up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=2)
    return diffusers.TextToVideoSDPipeline(unet=unet, vae=vae, scheduler=diffusers.DDIMScheduler(), **clip_text())


def ltx_condition() -> Any:
    """LTX from words, a picture or a video, all in one pipeline."""
    return diffusers.LTXConditionPipeline(**ltx().components)


def wan_vace() -> Any:
    """Wan from words and a video with its mask."""
    transformer = diffusers.WanVACETransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=16, out_channels=16,
        text_dim=32, freq_dim=32, ffn_dim=32, num_layers=2, vace_layers=[0, 1], vace_in_channels=96,
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    return diffusers.WanVACEPipeline(vae=wan_vae(), transformer=transformer, scheduler=scheduler, **umt5())


def lucy() -> Any:
    """Wan trained to edit a video by words."""
    scheduler = diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)
    transformer = wan_transformer(in_channels=32)
    return diffusers.LucyEditPipeline(vae=wan_vae(), transformer=transformer, scheduler=scheduler, **umt5())


def sana() -> Any:
    transformer = diffusers.SanaVideoTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, num_layers=1, num_cross_attention_heads=2,
        cross_attention_head_dim=12, cross_attention_dim=24, caption_channels=32,
    )  # fmt: skip
    parts = t5()
    config = transformers.Gemma2Config(
        vocab_size=len(parts["tokenizer"]), hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8, bos_token_id=1, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    return diffusers.SanaVideoPipeline(
        tokenizer=parts["tokenizer"], text_encoder=transformers.Gemma2Model(config), vae=wan_vae(),
        transformer=transformer, scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip


OTHERS: dict[str, Callable[[], Any]] = {
    make.__name__: make for make in (skyreels, skyreels_i2v, modelscope, ltx_condition, wan_vace, lucy, sana)
}
