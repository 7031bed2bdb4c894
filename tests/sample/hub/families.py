"""Tiny random pipelines of every family, built with diffusers' own classes: a fraction of a second each, of no use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from vitascope.sample.hub.model import HubModel

Folder = Callable[[str], Path]  # of the checkpoint of a family
Load = Callable[[str], HubModel]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SHAKE = 0.05  # added to weights that begin at zero or one, so that no part is silent


def t5() -> dict[str, Any]:
    words = [(f"▁{word}", -2.0) for word in "a red circle star moves left".split()]
    special = [(name, 0.0) for name in ("<pad>", "</s>", "<unk>")]
    tokenizer = transformers.T5Tokenizer(
        vocab=[*special, *words, ("▁", -5.0), *((c, -9.0) for c in LETTERS)], extra_ids=0
    )
    config = transformers.T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2, is_encoder_decoder=False
    )
    return {"tokenizer": tokenizer, "text_encoder": transformers.T5EncoderModel(config)}


def umt5() -> dict[str, Any]:
    parts = t5()
    config = transformers.UMT5Config(**parts["text_encoder"].config.to_diff_dict())
    return {**parts, "text_encoder": transformers.UMT5EncoderModel(config)}


def clip_tokenizer() -> Any:
    names = [*LETTERS, *(f"{c}</w>" for c in LETTERS), "re", "red</w>", "<|startoftext|>", "<|endoftext|>"]
    vocab = {name: place for place, name in enumerate(names)}
    return transformers.CLIPTokenizer(vocab=vocab, merges=[("r", "e"), ("re", "d</w>")], model_max_length=77)


def clip_text() -> dict[str, Any]:
    tokenizer = clip_tokenizer()
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=77, projection_dim=32, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return {"tokenizer": tokenizer, "text_encoder": transformers.CLIPTextModel(config)}


def clip_vision(side: int, projected: bool = False) -> tuple[Any, Any]:
    config = transformers.CLIPVisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=side,
        patch_size=side // 2, projection_dim=32,
    )  # fmt: skip
    kind = transformers.CLIPVisionModelWithProjection if projected else transformers.CLIPVisionModel
    return kind(config), transformers.CLIPImageProcessor(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )


def wan_vae() -> Any:
    return diffusers.AutoencoderKLWan(
        base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    )


def wan_transformer(**changes: Any) -> Any:
    settings: dict[str, Any] = {
        "patch_size": (1, 2, 2), "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 16,
        "out_channels": 16, "text_dim": 32, "freq_dim": 32, "ffn_dim": 32, "num_layers": 1, **changes,
    }  # fmt: skip
    return diffusers.WanTransformer3DModel(**settings)


def wan() -> Any:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    return diffusers.WanPipeline(vae=wan_vae(), transformer=wan_transformer(), scheduler=scheduler, **umt5())


def wan_flf() -> Any:
    """Wan from a first and a last picture: 2 x 5 places for what the encoder sees of them."""
    return wan_i2v(pos_embed_seq_len=10)


def wan_i2v(**changes: Any) -> Any:
    image_encoder, image_processor = clip_vision(16)
    return diffusers.WanImageToVideoPipeline(
        vae=wan_vae(), transformer=wan_transformer(in_channels=36, image_dim=32, **changes),
        scheduler=diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True),
        image_encoder=image_encoder, image_processor=image_processor, **umt5(),
    )  # fmt: skip


def ltx() -> Any:
    transformer = diffusers.LTXVideoTransformer3DModel(
        in_channels=8, out_channels=8, num_attention_heads=2, attention_head_dim=8, cross_attention_dim=16,
        num_layers=1, caption_channels=32,
    )  # fmt: skip
    vae = diffusers.AutoencoderKLLTXVideo(
        latent_channels=8, block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1), decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, True, False), decoder_spatio_temporal_scaling=(True, True, True, False),
        decoder_inject_noise=(False, False, False, False, False), upsample_residual=(False, False, False, False),
        upsample_factor=(1, 1, 1, 1), patch_size=4, patch_size_t=1,
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    return diffusers.LTXPipeline(transformer=transformer, vae=vae, scheduler=scheduler, **t5())


def hunyuan() -> Any:
    transformer = diffusers.HunyuanVideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=10, num_layers=1, num_single_layers=1,
        num_refiner_layers=1, patch_size=2, patch_size_t=1, guidance_embeds=True, text_embed_dim=32,
        pooled_projection_dim=32, rope_axes_dim=(2, 4, 4),
    )  # fmt: skip
    vae = diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4,
    )  # fmt: skip
    tokenizer = t5()["tokenizer"]  # any that knows letters
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
        bos_token_id=1, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    clip = clip_text()
    return diffusers.HunyuanVideoPipeline(
        text_encoder=transformers.LlamaModel(config), tokenizer=tokenizer, text_encoder_2=clip["text_encoder"],
        tokenizer_2=clip["tokenizer"], transformer=transformer, vae=vae,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
    )  # fmt: skip


def cogvideox_parts(**changes: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "num_attention_heads": 2, "attention_head_dim": 16, "in_channels": 4, "out_channels": 4, "time_embed_dim": 2,
        "text_embed_dim": 32, "num_layers": 1, "sample_width": 6, "sample_height": 4, "sample_frames": 9,
        "patch_size": 2, "temporal_compression_ratio": 4, "max_text_seq_length": 226, **changes,
    }  # fmt: skip
    vae = diffusers.AutoencoderKLCogVideoX(
        block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2,
        temporal_compression_ratio=4,
    )  # fmt: skip
    transformer = diffusers.CogVideoXTransformer3DModel(**settings)
    return {"transformer": transformer, "vae": vae, "scheduler": diffusers.CogVideoXDDIMScheduler(), **t5()}


def cogvideox() -> Any:
    return diffusers.CogVideoXPipeline(**cogvideox_parts())


def cogvideox_i2v() -> Any:
    learned = {"use_rotary_positional_embeddings": True, "use_learned_positional_embeddings": True}
    return diffusers.CogVideoXImageToVideoPipeline(**cogvideox_parts(in_channels=8, **learned))


def cogvideox_v2v() -> Any:
    return diffusers.CogVideoXVideoToVideoPipeline(**cogvideox_parts())


def mochi() -> Any:
    transformer = diffusers.MochiTransformer3DModel(
        patch_size=2, num_attention_heads=2, attention_head_dim=8, num_layers=2, pooled_projection_dim=16,
        in_channels=12, text_embed_dim=32, time_embed_dim=4, max_sequence_length=256,
    )  # fmt: skip
    vae = diffusers.AutoencoderKLMochi(
        encoder_block_out_channels=(32, 32, 32, 32), decoder_block_out_channels=(32, 32, 32, 32),
        layers_per_block=(1, 1, 1, 1, 1),
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    return diffusers.MochiPipeline(transformer=transformer, vae=vae, scheduler=scheduler, **t5())


def allegro() -> Any:
    transformer = diffusers.AllegroTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, num_layers=1,
        cross_attention_dim=24, sample_width=16, sample_height=16, sample_frames=6, caption_channels=32,
    )  # fmt: skip
    vae = diffusers.AutoencoderKLAllegro(
        block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2, sample_size=128,
    )  # fmt: skip
    return diffusers.AllegroPipeline(transformer=transformer, vae=vae, scheduler=diffusers.DDIMScheduler(), **t5())


def image_vae(kind: Any = None, **more: Any) -> Any:
    return (kind or diffusers.AutoencoderKL)(
        block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4, latent_channels=4, **more
    )


def latte() -> Any:
    transformer = diffusers.LatteTransformer3DModel(
        sample_size=4, num_layers=1, patch_size=2, attention_head_dim=8, num_attention_heads=2, caption_channels=32,
        in_channels=4, cross_attention_dim=16, out_channels=8, attention_bias=True, activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000, norm_type="ada_norm_single", norm_elementwise_affine=False, video_length=4,
    )  # fmt: skip
    vae = image_vae(up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=2)
    return diffusers.LattePipeline(transformer=transformer, vae=vae, scheduler=diffusers.DDIMScheduler(), **t5())


def svd() -> Any:
    unet = diffusers.UNetSpatioTemporalConditionModel(
        block_out_channels=(32, 32), layers_per_block=1, sample_size=4, in_channels=8, out_channels=4, num_frames=3,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"), num_attention_heads=2,
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"), cross_attention_dim=32,
        projection_class_embeddings_input_dim=24, addition_time_embed_dim=8,
    )  # fmt: skip
    vae = diffusers.AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 32), down_block_types=("DownEncoderBlock2D",) * 2, latent_channels=4
    )
    image_encoder, feature_extractor = clip_vision(224, projected=True)
    scheduler = diffusers.EulerDiscreteScheduler(
        prediction_type="v_prediction", sigma_max=700.0, sigma_min=0.002, timestep_type="continuous",
        use_karras_sigmas=True,
    )  # fmt: skip
    return diffusers.StableVideoDiffusionPipeline(
        unet=unet, vae=vae, image_encoder=image_encoder, feature_extractor=feature_extractor, scheduler=scheduler
    )


def animatediff() -> Any:
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(8, 8), layers_per_block=1, sample_size=4, norm_num_groups=2, cross_attention_dim=32,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), attention_head_dim=2,
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    adapter = diffusers.MotionAdapter(
        block_out_channels=(8, 8), motion_layers_per_block=1, motion_norm_num_groups=2, motion_num_attention_heads=2,
        motion_max_seq_length=16,
    )  # fmt: skip
    vae = image_vae(up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=2)
    scheduler = diffusers.DDIMScheduler(clip_sample=False)
    return diffusers.AnimateDiffPipeline(unet=unet, motion_adapter=adapter, vae=vae, scheduler=scheduler, **clip_text())


def built(make: Callable[[], Any], seed: int = 0) -> Any:
    """A pipeline with the same random weights each time, none of whose parts is silent."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pipeline = make()
        rng = torch.Generator().manual_seed(seed)
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                with torch.no_grad():
                    for weight in part.parameters():
                        weight.add_(torch.randn(weight.shape, generator=rng), alpha=SHAKE)
    return pipeline


FAMILIES: dict[str, Callable[[], Any]] = {
    make.__name__: make
    for make in (
        wan, wan_i2v, wan_flf, ltx, hunyuan, cogvideox, cogvideox_i2v, cogvideox_v2v, mochi, allegro, latte, svd,
        animatediff,
    )
}  # fmt: skip
