"""Commands that ask a vision-language model about videos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitascope.cli.common import ForceOption, check_out, say, screen, tracker
from vitascope.errors import UserError

if TYPE_CHECKING:
    from vitascope.endpoint import Judge
    from vitascope.evaluate.judges.asking import Asking
    from vitascope.evaluate.judges.run import Judged
    from vitascope.evaluate.videos import VideoFile

VideosArgument = Annotated[Path, typer.Argument(help="The folder of the videos.")]
ClipsArgument = Annotated[Path, typer.Argument(help="A folder of videos, or a report, whose clips are judged.")]
CaptionsOption = Annotated[
    Path | None, typer.Option(help="Lines of name, tab, caption; else what the files themselves say.")
]
FramesOption = Annotated[int, typer.Option(min=1, help="How many frames of each video are shown.")]
AskerOption = Annotated[str | None, typer.Option(help="Who writes questions, named as --judge; the judge if absent.")]
AskerUrlOption = Annotated[str | None, typer.Option(help="Of the asker's server; --url if absent.")]
UrlOption = Annotated[str | None, typer.Option(help="A server that speaks OpenAI's chat protocol, with its /v1.")]
JudgeOption = Annotated[
    str | None, typer.Option(help="With --url the model's name there, else the folder of a model of transformers.")
]
KeyOption = Annotated[str, typer.Option(envvar="VITASCOPE_JUDGE_KEY", help="Of the server.")]
AnswersOption = Annotated[Path, typer.Option(help="Raw answers are kept here, and none is asked for twice.")]
NameOption = Annotated[str | None, typer.Option(help="What to call the judged model; the folder's name if absent.")]
OutOption = Annotated[Path | None, typer.Option(help="Write the report here as JSON.")]
ANSWERS = Path("answers.jsonl")
MAX_TOKENS = 512  # of an answer


def compbench(
    videos: VideosArgument,
    prompts: Annotated[Path, typer.Option(help="The folder meta_data of T2V-CompBench, or one of its files.")],
    judge: JudgeOption = None,
    url: UrlOption = None,
    key: KeyOption = "",
    answers: AnswersOption = ANSWERS,
    name: NameOption = None,
    out: OutOption = None,
    force: ForceOption = False,
) -> None:
    """T2V-CompBench's seven categories of VIDEOS/CATEGORY/0001.mp4, ..."""
    from vitascope.evaluate.judges.asking import Asking
    from vitascope.evaluate.judges.compbench import CATEGORIES, read_records
    from vitascope.evaluate.judges.run import judge_compbench

    check_out(out, force)
    files = [prompts] if prompts.is_file() else [prompts / f"{category}.json" for category in CATEGORIES]
    there = [path for path in files if path.is_file()]
    if not there:
        raise UserError(f"'{prompts}' must be meta_data of T2V-CompBench, with files such as action_binding.json")
    records = {path.stem: read_records(text_of(path), path.stem, str(path)) for path in there}
    asking = Asking(judge_of(judge, url, key), answers)
    found = judge_compbench(videos, records, asking, model=name or videos.resolve().name, progress=tracker("asking"))
    tell(found, out)


def dsg(
    videos: ClipsArgument,
    questions: Annotated[
        Path | None, typer.Option(help="A table of questions as in DSG-1k; written from the captions if absent.")
    ] = None,
    captions: CaptionsOption = None,
    judge: JudgeOption = None,
    url: UrlOption = None,
    asker: AskerOption = None,
    asker_url: AskerUrlOption = None,
    key: KeyOption = "",
    answers: AnswersOption = ANSWERS,
    frames: FramesOption = 8,
    no_dependencies: Annotated[bool, typer.Option("--no-dependencies", help="Count each answer by itself.")] = False,
    name: NameOption = None,
    out: OutOption = None,
    force: ForceOption = False,
) -> None:
    """Davidsonian scene graphs: does each video show what its prompt says? Yes/no questions, asked of its frames."""
    from vitascope.evaluate.judges.dsg import read_questions
    from vitascope.evaluate.judges.run import judge_dsg, prompts_of
    from vitascope.evaluate.judges.writing import write_questions

    check_out(out, force)
    items = read_questions(questions) if questions is not None else None
    found = videos_told(videos, captions)
    looking, writing = two_askings((judge, url), (asker, asker_url), key, answers)
    without: list[str] = []
    if items is None:
        prompts, without = prompts_of(found)
        written = write_questions(prompts, writing, progress=tracker("writing questions"))
        without += written.skipped
        items = {video: [fact.proposition for fact in facts] for video, facts in written.graphs.items()}
    judged = judge_dsg(
        found, items, looking, model=name or called(videos), frames=frames,
        dependencies=not no_dependencies, without=without, progress=tracker("asking"),
    )  # fmt: skip
    tell(judged, out)


def dsg_video(
    videos: ClipsArgument,
    questions: Annotated[
        Path | None,
        typer.Option(help="A table of item_id, sentence, thing, question; written from the captions if absent."),
    ] = None,
    captions: CaptionsOption = None,
    judge: JudgeOption = None,
    url: UrlOption = None,
    asker: AskerOption = None,
    asker_url: AskerUrlOption = None,
    key: KeyOption = "",
    answers: AnswersOption = ANSWERS,
    frames: FramesOption = 8,
    name: NameOption = None,
    out: OutOption = None,
    force: ForceOption = False,
) -> None:
    """DSG-Video: how many of the things that captions name does no frame of their video show? Less is better."""
    import json
    from dataclasses import asdict

    from vitascope import media
    from vitascope.evaluate.judges.dsg_video import read_questions
    from vitascope.evaluate.judges.run import judge_dsg_video

    check_out(out, force)
    of_captions = None if out is None else out.with_suffix(".captions.jsonl")
    check_out(of_captions, force)
    table = read_questions(questions) if questions is not None else None
    found = videos_told(videos, captions)
    looking, writing = two_askings((judge, url), (asker, asker_url), key, answers)
    judged = judge_dsg_video(
        found, writing if table is None else table, looking, model=name or called(videos), frames=frames,
        progress=tracker("asking"),
    )  # fmt: skip
    tell(judged, out)
    if of_captions is not None:
        lines = [json.dumps({"video": video, **asdict(one)}) for video, one in judged.checks.items()]
        media.replace_file(of_captions, "".join(f"{line}\n" for line in lines).encode())


def videos_told(place: Path, captions: Path | None) -> list[VideoFile]:
    from vitascope.evaluate.report.reading import videos_told as told
    from vitascope.evaluate.videos import read_captions

    return told(place, read_captions(captions) if captions else None)


def called(place: Path) -> str:
    return place.stem if place.is_file() else place.resolve().name


def two_askings(
    judge: tuple[str | None, str | None], asker: tuple[str | None, str | None], key: str, answers: Path
) -> tuple[Asking, Asking]:
    """Who looks and who writes, each a name and a server; one of them if nobody else was named to write."""
    from vitascope.evaluate.judges.asking import Asking

    looking = Asking(judge_of(*judge, key), answers)
    if asker == (None, None):
        return looking, looking
    return looking, Asking(judge_of(asker[0] or judge[0], asker[1] or judge[1], key), answers)


def dsg_questions(
    prompts: Annotated[Path, typer.Argument(help="A prompt a line, or an item (the video's name), a tab, a prompt.")],
    out: Annotated[Path, typer.Option(help="Write the table of questions here, for evaluate dsg --questions.")],
    judge: JudgeOption = None,
    url: UrlOption = None,
    key: KeyOption = "",
    answers: AnswersOption = ANSWERS,
    force: ForceOption = False,
) -> None:
    """Let a language model turn prompts into scene graphs: facts, what depends on what, and questions."""
    from vitascope import media
    from vitascope.evaluate.judges.asking import Asking
    from vitascope.evaluate.judges.writing import read_prompt_lines, to_csv, write_questions

    check_out(out, force)
    wanted = read_prompt_lines(prompts)
    written = write_questions(wanted, Asking(judge_of(judge, url, key), answers), progress=tracker("asking"))
    for line in written.skipped:
        say(f"skipped: {line}")
    if not written.graphs:
        raise UserError(f"no prompt of '{prompts}' became a graph; read the raw answers in '{answers}'")
    media.replace_file(out, to_csv(written.graphs, wanted).encode())
    say(f"{out}: {sum(map(len, written.graphs.values()))} questions about {len(written.graphs)} prompts")


def dsg_answers(
    answers: Annotated[Path, typer.Argument(help="A table of answers as released with DSG-1k.")],
    name: Annotated[str, typer.Option(help="Whose: a word of its column t2i_model.")],
    questions: Annotated[
        Path | None, typer.Option(help="The table of questions: items without answers count as nothing.")
    ] = None,
) -> None:
    """The score of answers that were given already, with and without dependencies."""
    from vitascope.evaluate.judges.dsg import corpus_score, read_answers, read_questions

    items = {**(read_questions(questions) if questions else {}), **read_answers(answers, name)}
    for told, dependencies in (("with dependencies", True), ("without", False)):
        print(
            f"{name}, {len(items)} items, {told}: {100 * corpus_score(items.values(), dependencies=dependencies):.1f}"
        )


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' cannot be read ({error}); give a file of T2V-CompBench's meta_data") from None


def judge_of(judge: str | None, url: str | None, key: str) -> Judge:
    from vitascope.endpoint import Endpoint
    from vitascope.engine.local_models import local_model

    if judge is None:
        raise UserError("--judge says who looks: with --url the name of a model there, else the folder of a model")
    return Endpoint(url, judge, key) if url is not None else local_model(Path(judge), MAX_TOKENS)


def tell(found: Judged, out: Path | None) -> None:
    from rich.table import Table

    from vitascope import media

    report = found.report
    table = Table("", "value", "95 % interval", "n", "departs", title=f"{report.suite}: {report.model}")
    for name, one in report.dimensions.items():
        interval = "" if one.interval is None else f"{one.interval[0]:.3f} .. {one.interval[1]:.3f}"
        table.add_row(name.replace("_", " "), f"{one.value:.3f}", interval, str(one.n), "; ".join(one.departures))
    screen().print(table)
    for line in found.skipped:
        say(f"skipped: {line}")
    if unanswered := report.protocol["unanswered"]:
        say(f"{unanswered} questions without an answer that could be understood")
    if out is not None:
        media.replace_file(out, report.model_dump_json(indent=1).encode())
