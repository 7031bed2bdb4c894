"""Open checkpoints, as their makers describe them and where. What they do not say is left empty and never guessed."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Memory:
    """What a checkpoint's makers say that a GPU must have, and how it is then loaded."""

    gigabytes: int | float
    dtype: str = ""
    offload: str = ""  # the same way in words of `--offload`; empty where there is none, or where they do not say
    how: str = ""  # what else it was measured with
    foreign: bool = False  # in a way that this program does not have, so that it may need more here

    def way(self) -> str:
        """How to load it so, as far as that is known."""
        options = [f"--dtype {self.dtype}"] * bool(self.dtype) + [f"--offload {self.offload}"] * bool(self.offload)
        return ", ".join(part for part in (" ".join(options), self.how) if part)


@dataclass(frozen=True)
class Known:
    """A checkpoint in diffusers' layout, with what its makers say of it and where."""

    name: str  # of its repository on the hub
    tasks: tuple[str, ...]  # of "text", "image", "first and last" and "video", what it makes videos from
    parameters: tuple[int | float, ...] = ()  # of each denoiser, in billions
    size: tuple[int, int] | None = None
    num_frames: int | None = None
    fps: int | None = None
    licence: str = ""
    memory: tuple[Memory, ...] = ()
    sources: tuple[str, ...] = ()  # of all of it

    def command(self) -> str:
        """What to type for a first video."""
        words = "" if self.name in WORDLESS else ' "a red fox runs through snow"'
        return f"vitascope generate{words} --model hub:{self.name}{GIVEN[self.tasks[0]]}"

    def weights_gigabytes(self, bytes_each: int) -> float | None:
        """What the denoiser's weights alone take, at so many bytes a number; None if unknown."""
        return float(bytes_each * sum(self.parameters)) if self.parameters else None

    def fits(self, gigabytes: float, *, foreign: bool = False) -> Memory | None:
        """Of the ways of loading that a GPU of so much memory holds, ours or foreign ones, the one that needs most, as
        it is the quickest; None if none is known."""
        ways = [one for one in self.memory if one.gigabytes <= gigabytes and one.foreign == foreign]
        return max(ways, key=lambda one: one.gigabytes, default=None)


@dataclass(frozen=True)
class Native:
    """What a checkpoint or a family was made for, where neither signature nor parts say it."""

    size: tuple[int, int] | None = None
    num_frames: int | None = None
    fps: int | None = None
    counts_latents: bool = False  # `sample_frames` of the denoiser's settings is in latent frames
    latents_at_once: int = 1  # latent frames that the autoencoder takes together
    most_words: int | None = None  # parts of words (tokens) that are read of a prompt


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
WHOLE_WAN = Memory(80, "bf16", "model", "its makers' --offload_model True --convert_model_dtype")
WAN_1 = (
    "https://github.com/Wan-Video/Wan2.1 README.md",
    "https://github.com/Wan-Video/Wan2.1 wan/configs/shared_config.py",
)
WAN_2 = ("https://github.com/Wan-Video/Wan2.2 README.md", "https://github.com/Wan-Video/Wan2.2 wan/configs")
COG = ("https://github.com/zai-org/CogVideo README.md",)
HUNYUAN = (
    "https://github.com/Tencent/HunyuanVideo README.md and sample_video.py",
    "https://huggingface.co/tencent/HunyuanVideo LICENSE (as others cite it)",
)
HUNYUAN_I2V = (
    "https://github.com/Tencent/HunyuanVideo-I2V README.md",
    "https://huggingface.co/tencent/HunyuanVideo-I2V (licence)",
)
SVD = "https://github.com/Stability-AI/generative-models scripts/sampling/simple_video_sample.py"

# Sizes are those of landscape. "video" means that diffusers has a pipeline for it, whether its makers say so or not.
# No `--offload` keeps the text encoder on the processor (`--t5_cpu`), and none computes in another dtype than that of
# the weights, so that such memory is a guide and no promise.
KNOWN: tuple[Known, ...] = (
    Known(
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", ("text", "video"), (1.3,), (832, 480), 81, 16, "Apache-2.0",
        (Memory(8.19, "bf16", how="its makers' --offload_model True --t5_cpu", foreign=True),), WAN_1,
    ),
    Known("Wan-AI/Wan2.1-T2V-14B-Diffusers", ("text", "video"), (14,), (1280, 720), 81, 16, "Apache-2.0", (), WAN_1),
    Known("Wan-AI/Wan2.1-I2V-14B-480P-Diffusers", ("image",), (14,), (832, 480), 81, 16, "Apache-2.0", (), WAN_1),
    Known("Wan-AI/Wan2.1-I2V-14B-720P-Diffusers", ("image",), (14,), (1280, 720), 81, 16, "Apache-2.0", (), WAN_1),
    Known(
        "Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers", ("first and last",), (14,), (1280, 720), 81, 16, "Apache-2.0",
        (), WAN_1,
    ),
    Known(
        "Wan-AI/Wan2.2-TI2V-5B-Diffusers", ("text", "image"), (5,), (1280, 704), 121, 24, "Apache-2.0",
        (
            Memory(24, "bf16", how="its makers' --offload_model True --convert_model_dtype --t5_cpu", foreign=True),
            Memory(80, offload="none"),
        ),
        WAN_2,
    ),
    Known(
        "Wan-AI/Wan2.2-T2V-A14B-Diffusers", ("text",), (14, 14), (1280, 720), 81, 16, "Apache-2.0",
        (WHOLE_WAN,), WAN_2,
    ),
    Known(
        "Wan-AI/Wan2.2-I2V-A14B-Diffusers", ("image",), (14, 14), (1280, 720), 81, 16, "Apache-2.0",
        (WHOLE_WAN,), WAN_2,
    ),
    Known(
        "Lightricks/LTX-Video", ("text", "image"), (2,), (768, 512), None, 24, "its own (License.txt)", (),
        (
            "https://huggingface.co/Lightricks/LTX-Video, card and files of the first releases, 0.9 and 0.9.1: "
            "by their dates they are what lies there in diffusers' layout (later ones make 1216x704 at 30)",
            "https://huggingface.co/docs/diffusers/v0.32.0/api/pipelines/ltx_video (quotes that card)",
        ),
    ),
    Known(
        "hunyuanvideo-community/HunyuanVideo", ("text",), (13,), (1280, 720), 129, 24, TENCENT,
        (Memory(60), Memory(45, how="--size 960x544")), HUNYUAN,
    ),
    Known(
        "hunyuanvideo-community/HunyuanVideo-I2V", ("image",), (), (1280, 720), 129, None, TENCENT,
        (Memory(60),), HUNYUAN_I2V,
    ),
    Known(
        "zai-org/CogVideoX-2b", ("text", "video"), (2,), (720, 480), 49, 8, "Apache-2.0",
        (Memory(4, "fp16", "sequential", "decoded in tiles"),), COG,
    ),
    Known(
        "zai-org/CogVideoX-5b", ("text", "video"), (5,), (720, 480), 49, 8, "CogVideoX",
        (Memory(5, "bf16", "sequential", "decoded in tiles"),), COG,
    ),
    Known(
        "zai-org/CogVideoX-5b-I2V", ("image",), (5,), (720, 480), 49, 8, "CogVideoX",
        (Memory(5, "bf16", "sequential", "decoded in tiles"),), COG,
    ),
    Known(
        "zai-org/CogVideoX1.5-5B", ("text", "video"), (5,), (1360, 768), 81, 16, "CogVideoX",
        (Memory(10, "bf16", "sequential", "decoded in tiles"),),
        (*COG, "https://huggingface.co/zai-org/CogVideoX1.5-5B LICENSE (as others cite it)"),
    ),
    Known(
        "genmo/mochi-1-preview", ("text",), (10,), (848, 480), 163, 30, "Apache-2.0",
        (
            Memory(42, "fp32", "model", "--num-frames 85, computed in bf16, decoded in tiles", foreign=True),
            Memory(22, "bf16", "model", "--num-frames 85, decoded in tiles"),
        ),
        (
            "https://github.com/genmoai/mochi README.md, demos/cli.py and src/genmo/lib/utils.py",
            "https://huggingface.co/docs/diffusers/api/pipelines/mochi (memory)",
        ),
    ),
    Known(
        "rhymes-ai/Allegro", ("text",), (2.8,), (1280, 720), 88, 15, "Apache-2.0",
        (Memory(9.3, "bf16", "sequential"), Memory(27.5, offload="none")),
        ("https://github.com/rhymes-ai/Allegro README.md", "https://huggingface.co/rhymes-ai/Allegro (offload)"),
    ),
    Known(
        "maxin-cn/Latte-1", ("text",), (), (512, 512), 16, 8, "MIT", (Memory(17, "fp16", "none"),),
        ("https://github.com/Vchitect/Latte README.md, LICENSE, configs/t2x/t2v_sample.yaml, docs/latte_diffusers.md",),
    ),
    Known(
        WORDLESS[0], ("image",), (), (1024, 576), 14, None, STABILITY, (),
        (f"https://huggingface.co/{WORDLESS[0]}", SVD),
    ),
    Known(
        WORDLESS[1], ("image",), (), (1024, 576), 25, None, STABILITY, (),
        (f"https://huggingface.co/{WORDLESS[1]}", SVD),
    ),
)  # fmt: skip

# What is told by no signature and no part, for the folders and ids that are not in the table.
FAMILIES: dict[str, Native] = {
    "AllegroPipeline": Native(fps=15, counts_latents=True),
    "CogVideoXImageToVideoPipeline": Native(fps=8, latents_at_once=2),  # makers: 8N + 1 frames, 16N + 1 for 1.5
    "CogVideoXPipeline": Native(fps=8, latents_at_once=2),
    "CogVideoXVideoToVideoPipeline": Native(fps=8, latents_at_once=2),
    "HunyuanVideoImageToVideoPipeline": Native(fps=24),
    "HunyuanVideoPipeline": Native(fps=24),
    "LattePipeline": Native(most_words=120),
    "MochiPipeline": Native(fps=30),
    "WanImageToVideoPipeline": Native(fps=16),
    "WanPipeline": Native(fps=16),
    "WanVideoToVideoPipeline": Native(num_frames=81, fps=16),
}
