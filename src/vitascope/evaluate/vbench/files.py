"""VBench's own files: which prompts serve which dimensions, and how videos are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitascope.errors import UserError
from vitascope.evaluate.vbench.aggregate import VBENCH, VBENCH_2, VBENCH_I2V, VBENCH_LONG, Suite, official_name
from vitascope.evaluate.vbench.report import read_json
from vitascope.evaluate.videos import videos_in

SAMPLES = 5  # videos of a prompt


@dataclass(frozen=True)
class Layout:
    """How a suite wants its videos: how many of a prompt, how many letters of it in a name, a folder a dimension."""

    samples: int = SAMPLES
    more: Mapping[str, int] = field(default_factory=dict)
    letters: int | None = None
    by_dimension: bool = False


@dataclass(frozen=True)
class Prompt:
    """A sentence, the dimensions that it serves, and what their judges need to know beside it."""

    text: str
    dimensions: tuple[str, ...]
    about: Any  # of VBench a table by dimension, of VBench-2.0 a list or a word
    image: str = ""  # of VBench-I2V: the file that the video begins with
    samples: int = SAMPLES
    letters: int | None = None
    folder: str = ""  # of VBench-2.0: the dimension, as spelled there

    def name(self, index: int) -> str:
        return f"{self.text[: self.letters]}-{index}"

    def file(self, index: int) -> str:
        return f"{self.folder}/{self.name(index)}.mp4" if self.folder else f"{self.name(index)}.mp4"


def read_prompts(path: Path, suite: Suite = VBENCH) -> list[Prompt]:
    """The official `..._full_info.json`, checked: names of dimensions, sentences, none twice for one dimension."""
    records = read_json(path)
    if not isinstance(records, list) or not records:
        raise UserError(f"'{path}' must be a list of prompts such as VBench_full_info.json, got {str(records)[:40]!r}")
    known, layout = {*suite.dimensions, "temporal_flickering"}, LAYOUTS[suite.name]
    prompts, seen = [], set()
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict) or not isinstance(record.get("prompt_en"), str) or not record["prompt_en"]:
            raise UserError(f"'{path}': record {number} has no sentence 'prompt_en'; got {str(record)[:80]!r}")
        given = record.get("dimension")
        if not isinstance(given, list) or not given or not all(isinstance(name, str) for name in given):
            raise UserError(f"'{path}': record {number} must name dimensions of {suite.name}, got {given!r}")
        dimensions = tuple(official_name(name) for name in given)
        if not known.issuperset(dimensions):
            strange = sorted(set(dimensions) - known)
            raise UserError(f"'{path}': record {number} must name dimensions of {suite.name}, got {', '.join(strange)}")
        text, image = record["prompt_en"], record.get("image_name", "")
        if suite is VBENCH_I2V and not image:
            raise UserError(f"'{path}': record {number} has no 'image_name', the picture that the video begins with")
        if "/" in text[: layout.letters] or "\0" in text:
            raise UserError(f"'{path}': record {number}, '{text}', cannot be a file's name, as it has to be")
        for name in dimensions:
            if (text, name, image) in seen:
                raise UserError(f"'{path}': record {number} repeats '{text}' for {name}; give each prompt once")
            seen.add((text, name, image))
        samples = max(layout.more.get(name, layout.samples) for name in dimensions)
        about, folder = record.get("auxiliary_info") or {}, given[0] if layout.by_dimension else ""
        prompts.append(Prompt(text, dimensions, about, image, samples, layout.letters, folder))
    return prompts


def numbers_by_dimension(prompts: Sequence[Prompt]) -> dict[str, int]:
    names = dict.fromkeys(name for prompt in prompts for name in prompt.dimensions)
    return {name: sum(name in prompt.dimensions for prompt in prompts) for name in names}


def find_videos(folder: Path, prompts: Sequence[Prompt]) -> tuple[dict[Path, Prompt], list[str]]:
    """The videos of a folder by the official names, and which files are missing."""
    if not folder.is_dir():
        raise UserError(f"'{folder}' must be a folder of videos named 'PROMPT-0.mp4'; there is none")
    there = {place: videos_in(folder / place) for place in {prompt.folder for prompt in prompts}}
    found: dict[Path, Prompt] = {}
    missing = []
    for prompt in prompts:
        for index in range(prompt.samples):
            path = there[prompt.folder].get(prompt.name(index))
            if path is None:
                missing.append(prompt.file(index))
            elif path in found:  # several records, such as those of several pictures, share one sentence
                found[path] = merged_records(found[path], prompt)
            else:
                found[path] = prompt
    if not found:
        raise UserError(f"'{folder}' has no video of these prompts; name them like '{prompts[0].file(0)}'")
    return found, missing


def stamp_of(path: Path) -> tuple[int, int]:
    """Size and time of writing: others when a video is written anew, told without reading it."""
    try:
        seen = path.stat()
    except OSError as error:
        raise UserError(f"'{path}' cannot be opened ({error.strerror}); mend or remove it") from None
    return seen.st_size, seen.st_mtime_ns


def incomplete(name: str, suite: Suite, prompts: Sequence[Prompt], found: Mapping[Path, Prompt]) -> tuple[str, ...]:
    """What of the official prompts and videos of a dimension is not there, in words: a part is another test."""
    official, given = PROMPTS[suite.name].get(name, 0), numbers_by_dimension(prompts).get(name, 0)
    most = LAYOUTS[suite.name].more.get(name, LAYOUTS[suite.name].samples)
    # Records that share a sentence share its videos; those that only another dimension wants are not asked for.
    wanted = most * len({prompt.file(0) for prompt in prompts if name in prompt.dimensions})
    of_each = Counter(prompt.file(0) for prompt in found.values() if name in prompt.dimensions)
    there = sum(min(count, most) for count in of_each.values())
    fewer_prompts = (f"{given} prompts of {official}",) if given != official else ()
    return (*fewer_prompts, *((f"{there} videos of {wanted}",) if there < wanted else ()))


def merged_records(one: Prompt, other: Prompt) -> Prompt:
    """Both records of one sentence: the dimensions of both, and what both tell of it."""
    about = {**one.about, **other.about} if isinstance(one.about, dict) and isinstance(other.about, dict) else one.about
    names = tuple(dict.fromkeys([*one.dimensions, *other.dimensions]))
    return Prompt(one.text, names, about, one.image, max(one.samples, other.samples), one.letters, one.folder)


@dataclass(frozen=True)
class Exported:
    """Links under official names, names that no video has, and videos whose caption is no prompt."""

    made: tuple[Path, ...]
    missing: tuple[str, ...]
    strange: tuple[Path, ...]


def export(videos: Mapping[str, Sequence[Path]], prompts: Sequence[Prompt], folder: Path) -> Exported:
    """Link the videos of each caption into a folder under their official names; copying would double the disk."""
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"'{folder}' is already there and not empty; export into an empty folder")
    endings = sorted({path.suffix.lower() for paths in videos.values() for path in paths})
    if len(endings) > 1:
        raise UserError(f"the videos end in {', '.join(endings)}; the official packages want one ending for all")
    links: dict[Path, Path] = {}
    missing = []
    for prompt in prompts:
        paths = videos.get(prompt.text, ())
        for index in range(prompt.samples):
            link = folder / prompt.folder / f"{prompt.name(index)}{endings[0] if endings else '.mp4'}"
            if index < len(paths):
                links[link] = paths[index]
            elif link not in links:
                missing.append(prompt.file(index))
    if not links:
        raise UserError(f"no video has a prompt for its caption; the first one wanted is '{prompts[0].text}'")
    for link, path in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path.resolve())
    used = set(links.values())
    strange = [path for paths in videos.values() for path in paths if path not in used]
    return Exported(tuple(links), tuple(missing), tuple(strange))


LAYOUTS = {
    VBENCH.name: Layout(more={"temporal_flickering": 25}),  # of which the static ones are chosen
    VBENCH_I2V.name: Layout(),
    VBENCH_LONG.name: Layout(),
    VBENCH_2.name: Layout(samples=3, more={"diversity": 20}, letters=180, by_dimension=True),
}

OF_VBENCH = {
    "subject_consistency": 72, "background_consistency": 86, "temporal_flickering": 75, "motion_smoothness": 72,
    "dynamic_degree": 72, "aesthetic_quality": 93, "imaging_quality": 93, "object_class": 79, "multiple_objects": 82,
    "human_action": 100, "color": 85, "spatial_relationship": 84, "scene": 86, "appearance_style": 90,
    "temporal_style": 100, "overall_consistency": 93,
}  # fmt: skip
PROMPTS: dict[str, dict[str, int]] = {
    VBENCH.name: OF_VBENCH,
    VBENCH_LONG.name: OF_VBENCH,
    VBENCH_I2V.name: {
        "i2v_subject": 246, "i2v_background": 109, "camera_motion": 763, "subject_consistency": 246,
        "background_consistency": 109, "motion_smoothness": 246, "dynamic_degree": 246, "aesthetic_quality": 355,
        "imaging_quality": 355, "temporal_flickering": 355,
    },
    VBENCH_2.name: {
        "composition": 53, "diversity": 10, "instance_preservation": 57, "motion_rationality": 58,
        "camera_motion": 108, "complex_landscape": 30, "complex_plot": 60, "dynamic_attribute": 91,
        "dynamic_spatial_relationship": 69, "human_interaction": 100, "motion_order_understanding": 99,
        "human_anatomy": 120, "human_clothes": 75, "human_identity": 46, "mechanics": 57, "material": 50,
        "thermotics": 50, "multi_view_consistency": 97,
    },
}  # fmt: skip
"""How many prompts the official files have for each dimension."""
