"""Open checkpoints, as their makers describe them. What they do not say is left empty and never guessed."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Memory:
    """What a checkpoint's makers say that a GPU must have, and how it is then loaded."""

    gigabytes: int | float
    dtype: str
    offload: str


@dataclass(frozen=True)
class Known:
    """A checkpoint in diffusers' layout, with what its makers say of it and where."""

    name: str  # of its repository on the hub
    tasks: tuple[str, ...]  # of "text", "image", "first and last" and "video", what it makes videos from
    parameters: str = ""  # of the denoiser
    size: tuple[int, int] | None = None
    num_frames: int | None = None
    fps: int | None = None
    licence: str = ""
    memory: tuple[Memory, ...] = ()
    source: str = ""  # of the memory

    def command(self) -> str:
        """What to type for a first video."""
        words = "" if self.name in WORDLESS else ' "a red fox runs through snow"'
        return f"vitascope generate{words} --model hub:{self.name}{GIVEN[self.tasks[0]]}"

    def fits(self, free_gigabytes: float) -> Memory | None:
        """Of the ways of loading that fit the one that needs most, as it is the quickest; None if none is known to."""
        ways = [one for one in self.memory if one.gigabytes <= free_gigabytes]
        return max(ways, key=lambda one: one.gigabytes, default=None)


@dataclass(frozen=True)
class Native:
    """What a checkpoint or a family was made for, where neither signature nor parts say it."""

    size: tuple[int, int] | None = None
    num_frames: int | None = None
    fps: int | None = None
    counts_latents: bool = False  # `sample_frames` of the denoiser's settings is in latent frames
    latents_at_once: int = 1  # latent frames that the autoencoder takes together


def native(name: str, pipeline: str) -> Native:
    """What is known of a checkpoint by its id, else by the class of its pipeline."""
    family = FAMILIES.get(pipeline, Native())
    for one in KNOWN:
        if one.name == name:
            return replace(family, size=one.size, num_frames=one.num_frames, fps=one.fps or family.fps)
    return family


GIVEN = {
    "text": "",
    "image": " --image first.png",
    "first and last": " --image first.png --last last.png",
    "video": " --video in.mp4",
}
WORDLESS = ("stabilityai/stable-video-diffusion-img2vid", "stabilityai/stable-video-diffusion-img2vid-xt")
TENCENT, STABILITY = "Tencent Hunyuan Community", "Stable Video Diffusion Community"

# Memory: as stated in the model cards and READMEs named under `source`; with an offload that differs from `--offload`
# (parts of Wan and HunyuanVideo were measured with their makers' own programs), so that it is a guide and no promise.
KNOWN: tuple[Known, ...] = (
    Known(
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", ("text", "video"), "1.3B", (832, 480), 81, 16, "Apache-2.0",
        (Memory(8.19, "bf16", "model"),), "README of Wan-Video/Wan2.1",
    ),
    Known("Wan-AI/Wan2.1-T2V-14B-Diffusers", ("text", "video"), "14B", (1280, 720), 81, 16, "Apache-2.0"),
    Known("Wan-AI/Wan2.1-I2V-14B-480P-Diffusers", ("image",), "14B", (832, 480), 81, 16, "Apache-2.0"),
    Known("Wan-AI/Wan2.1-I2V-14B-720P-Diffusers", ("image",), "14B", (1280, 720), 81, 16, "Apache-2.0"),
    Known("Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers", ("first and last",), "14B", (1280, 720), 81, 16, "Apache-2.0"),
    Known("Wan-AI/Wan2.2-TI2V-5B-Diffusers", ("text", "image"), "5B", (1280, 704), 121, 24, "Apache-2.0",
        (Memory(24, "bf16", "model"), Memory(80, "bf16", "none")), "README of Wan-Video/Wan2.2",
    ),
    Known(
        "Wan-AI/Wan2.2-T2V-A14B-Diffusers", ("text",), "two of 14B", (1280, 720), 81, 16, "Apache-2.0",
        (Memory(80, "bf16", "model"),), "README of Wan-Video/Wan2.2",
    ),
    Known("Wan-AI/Wan2.2-I2V-A14B-Diffusers", ("image",), "two of 14B", (1280, 720), 81, 16, "Apache-2.0"),
    Known("Lightricks/LTX-Video", ("text", "image"), "2B", (704, 512), 161, 25, "its own (License.txt)"),
    Known(
        "hunyuanvideo-community/HunyuanVideo", ("text",), "13B", (1280, 720), 129, 24, TENCENT,
        (Memory(60, "bf16", "none"),), "README of Tencent/HunyuanVideo; 45 GB at 960x544",
    ),
    Known("hunyuanvideo-community/HunyuanVideo-I2V", ("image",), "13B", (1280, 720), 129, 24, TENCENT),
    Known(
        "zai-org/CogVideoX-2b", ("text", "video"), "2B", (720, 480), 49, 8, "Apache-2.0",
        (Memory(4, "fp16", "sequential"),), "model card",
    ),
    Known(
        "zai-org/CogVideoX-5b", ("text", "video"), "5B", (720, 480), 49, 8, "CogVideoX",
        (Memory(5, "bf16", "sequential"),), "model card",
    ),
    Known("zai-org/CogVideoX-5b-I2V", ("image",), "5B", (720, 480), 49, 8, "CogVideoX"),
    Known("zai-org/CogVideoX1.5-5B", ("text", "video"), "5B", (1360, 768), 81, 16, "CogVideoX"),
    Known(
        "genmo/mochi-1-preview", ("text",), "10B", (848, 480), 85, 30, "Apache-2.0",
        (Memory(42, "fp32", "model"), Memory(22, "bf16", "model")), "model card",
    ),
    Known(
        "rhymes-ai/Allegro", ("text",), "2.8B", (1280, 720), 88, 15, "Apache-2.0",
        (Memory(9.3, "bf16", "sequential"),), "its makers' announcement",
    ),
    Known("maxin-cn/Latte-1", ("text",), "", (512, 512), 16),
    Known(WORDLESS[0], ("image",), "", (1024, 576), 14, 7, STABILITY),
    Known(WORDLESS[1], ("image",), "", (1024, 576), 25, 7, STABILITY),
)  # fmt: skip

# What is told by no signature and no part, for the folders and ids that are not in the table.
FAMILIES: dict[str, Native] = {
    "AllegroPipeline": Native(fps=15, counts_latents=True),
    "CogVideoXImageToVideoPipeline": Native(fps=8, latents_at_once=2),  # makers: 8N + 1 frames, 16N + 1 for 1.5
    "CogVideoXPipeline": Native(fps=8, latents_at_once=2),
    "CogVideoXVideoToVideoPipeline": Native(fps=8, latents_at_once=2),
    "HunyuanVideoImageToVideoPipeline": Native(fps=24),
    "HunyuanVideoPipeline": Native(fps=24),
    "MochiPipeline": Native(fps=30),
    "WanImageToVideoPipeline": Native(fps=16),
    "WanPipeline": Native(fps=16),
    "WanVideoToVideoPipeline": Native(num_frames=81, fps=16),
}
