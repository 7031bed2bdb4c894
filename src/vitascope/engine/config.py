"""Every threshold of the engine: one group of settings for each stage, each of which can be turned off."""

from __future__ import annotations

from typing import Annotated

import pydantic

from vitascope.config import Amount, AmountOrZero, Config, Count, CountOrZero, Share
from vitascope.evaluate.judges.dsg_video import ASK_FOR_AN_ANSWER, ASK_FOR_QUESTIONS, NUM_FRAMES


class Measuring(Config):
    """What is looked at while a file is decoded; the only settings whose change decodes everything again."""

    small_pixels: Count = 256  # longer side of the frames on which features are measured
    looks_per_second: Amount = 4.0  # flow, clarity, exposure, borders and words are measured so often
    flow_seconds: Amount = 1 / 12  # flow is measured over this time, so that repeated frames do not look like rest
    black_level: CountOrZero = 24  # of 255: a border is no brighter anywhere
    most_seconds: Amount = 600.0  # of work on one file, and between two of its frames, before it is set aside
    most_share: Amount = 20.0  # of work in addition, for each second of the file that was read
    most_megabytes: Count = 2048  # of memory beyond what the process began with


class Annotations(Config):
    """What is believed of a public set's own annotation."""

    split: str = ""  # the part that is read, by its authors' name (train01, validate, training_2m); all if empty
    captions: bool = True  # its captions; those of single clips need `clips`
    clips: bool = False  # its clip times, instead of finding shots


class Scenes(Config):
    """Where one shot ends and the next begins."""

    on: bool = True
    ratio: Amount = 3.0  # PySceneDetect's adaptive detector: a change so many times that of the frames around it
    least_content: Amount = 15.0  # and no smaller than this
    window: Count = 2
    # A cut must show in the picture, not only in hues, which jump where there is hardly any colour.
    least_change: AmountOrZero = 8.0
    most_alike: Share = 0.95
    flash_frames: CountOrZero = 3  # so few frames, after which the old picture is back, are no shot
    dissolve_residual: Share = 0.3  # how far frames of a dissolve may lie off the straight line between its ends
    dissolve_alike: Share = 0.65  # correlation below which the ends show different things
    dissolve_detail: Share = 0.7  # of the fine detail of its ends, below which the middle is taken for a mixture
    dissolve_residual_faint: Share = 0.65  # then frames may lie so far off the line, and ends be as alike as at a cut
    dissolve_change: Amount = 12.0
    flat: AmountOrZero = 4.0  # deviation of the pixels below which a frame shows a plain colour
    fade_seconds: Amount = 3.0  # longest fade that is looked for
    margin: CountOrZero = 1  # frames that are left out beside every transition that is no hard cut


class Lengths(Config):
    """How long a clip may be; longer shots are divided into equal parts."""

    on: bool = True
    least_seconds: AmountOrZero = 1.0
    most_seconds: Amount = 10.0


class Geometry(Config):
    """Black borders are cut off; what is left must be large enough."""

    on: bool = True
    crop: bool = True
    least_side: Count = 128
    least_aspect: Amount = 0.4  # width / height
    most_aspect: Amount = 2.5


class Quality(Config):
    """What is thrown away for its features; a threshold that is None throws nothing away."""

    on: bool = True
    least_motion: AmountOrZero | None = 0.05  # percent of the diagonal in a second
    most_motion: Amount | None = None
    most_static: Share | None = 0.9
    most_duplicated: Share | None = 0.8
    least_clarity: AmountOrZero | None = 3.0
    least_light: Share | None = 0.06
    most_light: Share | None = 0.95
    most_flicker: AmountOrZero | None = 0.04
    most_text: Share | None = None
    least_consistency: Share | None = 0.3
    keep_damaged: bool = False  # the last clip before a fault in the file


class Duplicates(Config):
    """Clips that show the same; the best of them is kept."""

    on: bool = True
    # Of 64, in which the hashes of two pictures may differ and yet be the same picture. Half of them differ by chance.
    most_bits: Annotated[int, pydantic.Field(ge=0, le=31)] = 8
    pictures: Count = 5  # hashes compared, spread evenly over the clip


class Embedding(Config):
    """What CLIP sees in the clips that are left; the networks are files of the user's (see docs/curate.md)."""

    on: bool = False
    clip: str = ""  # folder of a CLIP as transformers keeps it
    head: str = ""  # file of LAION's linear head for that CLIP; without it there is no rating of aesthetics
    frames: Count = 8  # embedded, spread evenly over the clip
    least_aesthetics: AmountOrZero | None = None  # LAION's rating, about 1 to 10
    least_consistency: Share | None = None  # mean cosine of successive frames


class Tier(Config):
    """A selection of the best clips, as large sets have them; None asks nothing."""

    name: str
    least_motion: AmountOrZero | None = None
    least_clarity: AmountOrZero | None = None
    least_side: Count | None = None
    least_aesthetics: AmountOrZero | None = None  # of embedding.head


class Cutting(Config):
    """How clips are written."""

    crf: CountOrZero = 17
    preset: str = "veryfast"


class Shards(Config):
    clips: Count = 100  # in one shard, which is put together in memory


class Model(Config):
    """A model behind an endpoint that speaks OpenAI's chat protocol, or in a folder as transformers keeps it."""

    folder: str = ""  # if it is given no server is asked; the likeliest word is chosen each time, at any temperature
    url: str = "http://localhost:8000/v1"
    name: str = ""
    temperature: AmountOrZero = 0.0
    max_tokens: Count = 512
    timeout_seconds: Amount = 120.0
    tries: Count = 4  # of one question, waiting twice as long before each
    wait_seconds: Amount = 1.0


class Captions(Config):
    """Who says what a clip shows, where nobody has said it yet."""

    on: bool = False
    replace: bool = False  # also captions that came with the files
    most_seconds: Amount = 1800.0  # of writing and checking for one clip
    frames: Count = 8  # shown, spread evenly over the clip
    captioner: Model = Model()  # sees the frames
    prompt: str = (
        "These are frames of one video, in order. Describe the video: what is there, what it looks like and what "
        "happens. Write plain sentences and nothing that cannot be seen."
    )
    by_frames: bool = False  # the captioner describes each frame alone; the summariser makes one caption of that
    frame_prompt: str = "Describe this picture in one or two sentences. Write nothing that cannot be seen."
    summariser: Model = Model()
    summary_prompt: str = (
        "These are descriptions of single frames of one video, in order. Write one description of the video out of "
        "them, in plain sentences, adding nothing:"
    )


class Hallucination(Config):
    """DSG-Video: does the clip show the things that its caption names?"""

    on: bool = False
    frames: Count = NUM_FRAMES
    asker: Model = Model()  # makes questions out of the caption
    questions_prompt: str = ASK_FOR_QUESTIONS
    judge: Model = Model()  # answers them, one frame at a time
    judge_prompt: str = ASK_FOR_AN_ANSWER
    most_missing: Share = 0.0  # of the things of a caption; beyond it the caption is rewritten or dropped
    rewrite: bool = True  # once, by the asker; what still says too much is dropped
    rewrite_prompt: str = (
        "Rewrite this caption of a video without the things that the video does not show, changing nothing else. "
        "Write only the new caption."
    )


class Curate(Config):
    """Everything that a run of the engine depends on, its input aside."""

    annotations: Annotations = Annotations()
    measuring: Measuring = Measuring()
    scenes: Scenes = Scenes()
    lengths: Lengths = Lengths()
    geometry: Geometry = Geometry()
    quality: Quality = Quality()
    duplicates: Duplicates = Duplicates()
    tiers: tuple[Tier, ...] = (
        Tier(name="moving", least_motion=2.0),
        Tier(name="best", least_motion=2.0, least_clarity=40.0, least_side=480),
    )
    cutting: Cutting = Cutting()
    embedding: Embedding = Embedding()
    captions: Captions = Captions()
    hallucination: Hallucination = Hallucination()
    shards: Shards = Shards()
