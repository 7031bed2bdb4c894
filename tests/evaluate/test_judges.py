"""Questions to a server that is slow, broken or busy; released answers with known scores; grades with known sums."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from beside import SHARED, needs
from chatting import WORDS, tiny_llava
from serving import Reply, Server, in_order, reply
from tiny import COMPBENCH as RECORDS
from vitascope import media
from vitascope.endpoint import Endpoint, Kept, Picture, Unanswered
from vitascope.errors import UserError
from vitascope.evaluate.judges import dsg
from vitascope.evaluate.judges.asking import Asking, LocalJudge
from vitascope.evaluate.judges.compbench import CATEGORIES, PHRASE_SCORES, letter_of, number_in, read_records, spread
from vitascope.evaluate.judges.run import judge_compbench, judge_dsg
from vitascope.evaluate.videos import find_videos
from vitascope.types import Clip

DSG = SHARED / "prompts" / "dsg"
PICTURE = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*replies: Reply) -> Server:
        servers.append(Server(in_order(replies)))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def test_a_question_arrives_with_its_pictures_and_its_seed(serve: Callable[..., Server]):
    server = serve(reply(" yes\n"))
    assert server.endpoint(key="secret").answer([PICTURE, PICTURE], ["What?", "A cat.", "Sure?"], 7) == "yes"
    (body,) = server.asked
    assert body["model"] == "judge" and body["seed"] == 7 and server.keys == ["Bearer secret"]
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    kinds = [part["type"] for part in body["messages"][0]["content"]]
    assert kinds == ["image_url", "image_url", "text"]
    assert body["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert "secret" not in repr(server.endpoint(key="secret"))


@pytest.mark.parametrize(
    "trouble",
    [(429, "slow down", 0.0), (500, "oops", 0.0), (503, "", 0.0), (200, "<html>", 0.0), (200, "{}", 0.0),
     (200, '{"choices": []}', 0.0), reply("  "), (200, "late", 1.0)],
)  # fmt: skip
def test_what_passes_is_tried_again(serve: Callable[..., Server], trouble: Reply):
    server = serve(trouble, trouble, reply("no"))
    assert server.endpoint(timeout_seconds=0.3).answer([PICTURE], ["Is it?"], 0) == "no"
    assert len(server.asked) == 3


def test_what_does_not_pass_is_counted_and_the_rest_goes_on(serve: Callable[..., Server]):
    server = serve((500, "oops", 0.0), (500, "oops", 0.0), reply("yes"))
    ask = Asking(server.endpoint(tries=2))
    assert ask([PICTURE], ["One?"]) is None and ask([PICTURE], ["Two?"]) == "yes"
    assert ask.unanswered == 1


@pytest.mark.parametrize(("status", "told"), [(401, "status 401: who are you"), (404, "status 404")])
def test_what_the_user_can_mend_stops_at_once(serve: Callable[..., Server], status: int, told: str):
    server = serve((status, "who are you", 0.0))
    with pytest.raises(UserError, match=told):
        Asking(server.endpoint())([PICTURE], ["Is it?"])
    assert len(server.asked) == 1


def test_nobody_there_and_no_address():
    with pytest.raises(UserError, match="start the server"):
        Endpoint("http://127.0.0.1:9", "judge", wait_seconds=0.01).answer([], ["?"], 0)
    with pytest.raises(UserError, match="address of a server"):
        Endpoint("localhost", "judge").answer([], ["?"], 0)


def test_a_model_in_a_folder_answers_the_same_each_time(tmp_path: Path):
    """A tiny random one of the LLaVA family."""
    tiny_llava(tmp_path)
    judge = LocalJudge(tmp_path, max_tokens=4)
    said = judge.answer([PICTURE, PICTURE], ["is it ?", "no", "is it ?"], 0)
    assert said and set(said.split()) <= set(WORDS[4:])
    assert judge.answer([PICTURE, PICTURE], ["is it ?", "no", "is it ?"], 1) == said
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no vision-language model"):
        LocalJudge(tmp_path / "empty")


def test_judges_are_told_apart_by_what_their_folders_hold(tmp_path: Path):
    """Neither takes an answer of the other, though their folders have one name."""
    first, second, copied = tmp_path / "1" / "llava", tmp_path / "2" / "llava", tmp_path / "3" / "llava"
    for seed, folder in enumerate((first, second)):
        torch.manual_seed(seed)
        tiny_llava(folder)
    shutil.copytree(first, copied)
    askings = [Asking(LocalJudge(folder, max_tokens=4)) for folder in (first, second, copied)]
    keys = [ask.key([PICTURE], ["is it ?"], 0) for ask in askings]
    assert keys[0] == keys[2] != keys[1] and askings[0].judge.name != askings[1].judge.name


class Scripted:
    """Answers by a function of the question; counts how often it was asked."""

    name = "script"

    def __init__(self, say: Callable[[str], str]) -> None:
        self.say, self.asked = say, 0

    def answer(self, pictures: Sequence[Picture], dialogue: Sequence[str], seed: int) -> str:
        self.asked += 1
        return self.say(dialogue[-1])


def test_answers_are_kept_and_not_asked_for_again(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    judge = Scripted(lambda question: f"{question} yes")
    assert Asking(judge, path)([PICTURE], ["a?"]) == "a? yes"
    with path.open("a") as file:
        file.write('{"key": "cut o')  # the machine stopped here
    again = Asking(judge, path)
    assert again([PICTURE], ["a?"]) == "a? yes" and judge.asked == 1
    for pictures, dialogue, seed in (([PICTURE], ["b?"], 0), ([PICTURE], ["a?"], 1), ([1 - PICTURE], ["a?"], 0)):
        before = judge.asked
        again(pictures, dialogue, seed)
        assert judge.asked == before + 1
    assert json.loads(path.read_text().splitlines()[0])["dialogue"] == ["a?"]


# DSG.


def test_a_question_counts_only_if_its_own_parents_were_answered_yes():
    item = [
        dsg.Proposition("1", "Is there a cat?", answer="no"),
        dsg.Proposition("2", "Is it red?", ("1",), answer="yes"),
        dsg.Proposition("3", "Does the red one sleep?", ("2",), answer="yes"),
    ]
    assert dsg.score(item) == pytest.approx(1 / 3)  # 2 falls with 1; 3 stands, for 2's own answer was yes
    assert dsg.score(item, dependencies=False) == pytest.approx(2 / 3)
    assert dsg.corpus_score([item, item[1:]]) == pytest.approx((1 / 3 + 1) / 2)


@needs(DSG)
def test_the_released_answers_have_their_published_score():
    questions = dsg.read_questions(DSG / "dsg-1k-anns.csv")
    assert len(questions) == 1060 and sum(map(len, questions.values())) == 8182
    # One prompt has no answers; it counts, as nothing.
    items = {**questions, **dsg.read_answers(DSG / "pali17b_dsg_answers.csv", "sd2dot1")}
    assert round(100 * dsg.corpus_score(items.values()), 1) == 80.5
    assert round(100 * dsg.corpus_score(items.values(), dependencies=False), 1) == 82.9
    with pytest.raises(UserError, match="sd2dot1"):
        dsg.read_answers(DSG / "pali17b_dsg_answers.csv", "sd3")


@pytest.mark.parametrize(
    ("rest", "told"),
    [("b,1,", "line 3 of"), (f"b,1,0,{'x' * 200_000}\n", "field larger")],
    ids=["a row too short", "a cell without an end"],
)
def test_a_table_that_is_cut_off_is_refused_by_its_line(tmp_path: Path, rest: str, told: str):
    path = tmp_path / "questions.csv"
    path.write_text(f"item_id,proposition_id,dependency,question_natural_language\na,1,0,Is there a cat?\n{rest}")
    with pytest.raises(UserError, match=told) as refused:
        dsg.read_questions(path)
    assert str(path) in str(refused.value)


def test_videos_are_asked_about_and_what_is_damaged_is_listed(tmp_path: Path):
    path = tmp_path / "questions.csv"
    path.write_text(
        "item_id,proposition_id,dependency,category_broad,question_natural_language\n"
        'a,1,0,entity,Is there a cat?\na,2,1,attribute,Is it red?\nb,1,"0, cat",entity,Is there a dog?\nc,1,0,,Is it?\n'
    )
    items = dsg.read_questions(path)
    assert items["b"][0].parents == () and items["a"][1].parents == ("1",)
    for name in "ab":
        Clip(torch.rand(5, 3, 32, 32)).save(str(tmp_path / f"{name}.mp4"))
    (tmp_path / "c.mp4").write_bytes(b"no video")
    ask = Asking(Scripted(lambda question: "No." if "red" in question else "Yes, it is." if "cat" in question else "?"))
    found = judge_dsg(find_videos(tmp_path), items, ask, model="m", progress=lambda done, total: None)
    assert found.report.dimensions["dsg"].value == pytest.approx(0.5) and found.report.dimensions["dsg"].n == 1
    gibberish, damaged = found.skipped  # neither is a video of which everything was denied
    assert gibberish == "b: no answer could be understood" and ask.unanswered == 1
    assert "c.mp4" in damaged and found.report.protocol["skipped"] == [gibberish, damaged]


def test_a_video_about_which_the_server_said_nothing_is_listed_and_does_not_count(
    serve: Callable[..., Server], tmp_path: Path
):
    items = {name: [dsg.Proposition("1", "Is there a cat?"), dsg.Proposition("2", "Is it red?")] for name in "ab"}
    for name in "ab":
        Clip(torch.rand(2, 3, 8, 8)).save(str(tmp_path / f"{name}.mp4"))
    ask = Asking(serve(reply("yes"), reply("no"), reply("yes"), (500, "oops", 0.0)).endpoint(tries=1))
    found = judge_dsg(find_videos(tmp_path), items, ask, model="m", progress=lambda done, total: None)
    assert found.report.dimensions["dsg"].value == 0.5 and found.report.dimensions["dsg"].n == 1
    assert found.skipped == ("b: no answer came to 'Is it red?'",) and ask.unanswered == 1


def test_a_folder_of_compbench_is_judged_category_by_category(tmp_path: Path):
    (tmp_path / "motion_binding").mkdir()
    Clip(torch.rand(5, 3, 32, 32)).save(str(tmp_path / "motion_binding" / "0001.mp4"))
    records = {"motion_binding": [RECORDS["motion_binding"]] * 2}
    ask = Asking(Scripted(lambda question: "A"))
    found = judge_compbench(tmp_path, records, ask, model="m", progress=lambda done, total: None)
    one = found.report.dimensions["motion_binding"]
    assert one.value == pytest.approx(0.6) and one.n == 1 and len(one.departures) == 2
    assert len(found.skipped) == 1 and "0002.mp4" in found.skipped[0]
    media.write(Clip(torch.rand(5, 3, 32, 32)), tmp_path / "motion_binding" / "0002.webp")
    found = judge_compbench(tmp_path, records, ask, model="m", progress=lambda done, total: None)
    assert found.report.dimensions["motion_binding"].n == 2 and not found.skipped
    with pytest.raises(UserError, match="nothing could be judged"):
        judge_compbench(tmp_path / "no", records, ask, model="m", progress=lambda done, total: None)
    gone = Asking(Endpoint("http://127.0.0.1:9", "judge", wait_seconds=0.01))
    with pytest.raises(UserError, match="start the server"):
        judge_compbench(tmp_path, records, gone, model="m", progress=lambda done, total: None)


def test_a_judge_that_fails_at_a_video_stops_all_even_where_it_names_the_video(tmp_path: Path):
    path = tmp_path / "motion_binding" / "0001.mp4"
    path.parent.mkdir()
    Clip(torch.rand(5, 3, 32, 32)).save(str(path))

    def full(question: str) -> str:
        raise UserError(f"there is no room left for answers about {path}")

    with pytest.raises(UserError, match="no room left"):
        judge_compbench(
            tmp_path, {"motion_binding": [RECORDS["motion_binding"]] * 2}, Asking(Scripted(full)), model="m",
            progress=lambda done, total: None,
        )  # fmt: skip


# T2V-CompBench.

FRAMES = spread(Clip(torch.rand(9, 3, 8, 8)), 16)


def score(category: str, say: Callable[[str], str]) -> float | None:
    return CATEGORIES[category].score(RECORDS[category], FRAMES, Asking(Scripted(say)))


def test_grades_are_those_of_the_rubric():
    assert PHRASE_SCORES["AA"] == 15 and PHRASE_SCORES["CC"] == 6 and PHRASE_SCORES["EE"] == 1
    assert score("consistent_attribute_binding", lambda q: "A") == 1
    assert score("consistent_attribute_binding", lambda q: "B" if "blue" in q else "A") == pytest.approx(13 / 14)
    assert score("consistent_attribute_binding", lambda q: "E") == 0
    assert score("spatial_relationships", lambda q: "(B) both") == pytest.approx(0.4)
    assert score("motion_binding", lambda q: "A") == pytest.approx(0.2 + 0.8 / 2)  # the cat goes left, the dog not up
    assert score("action_binding", lambda q: "A") == 1
    assert score("action_binding", lambda q: "C" if "so that a dog" in q else "A") == pytest.approx(7 / 9)
    assert score("action_binding", lambda q: "B" if "Is there a dog" in q else "A") == pytest.approx(3 / 9)
    assert score("action_binding", lambda q: "B" if "Is there" in q else "A") == 0
    assert score("object_interactions", lambda q: "A") == 1
    assert score("object_interactions", lambda q: "D") == 0
    assert score("generative_numeracy", lambda q: "2" if "cat" in q else "four, or 4") == 0.5
    assert score("generative_numeracy", lambda q: "There are two." if "cat" in q else "Three dogs.") == 1
    assert [number_in(text) for text in ("None.", "zero", "one", "12 or so", "many", "someone")] == [
        0, 0, 1, 12, None, None,
    ]  # fmt: skip
    sides = {**RECORDS["spatial_relationships"], "spatial": "left"}
    answer = Scripted(lambda q: "A" if "cat is to the left of dog" in q else "D")
    assert CATEGORIES["spatial_relationships"].score(sides, FRAMES, Asking(answer)) == 1


@pytest.mark.parametrize(
    ("one", "other", "score"),
    [("A", "B", 1), ("A", "E", 0.6), ("E", "E", 0.2), ("E", "F", 0.2), ("F", "F", 0), ("?", "F", 0)],
)
def test_what_is_not_there_scores_less_than_what_moves_the_wrong_way(one: str, other: str, score: float):
    record = {"prompt": "p", "object_1": "a cat", "d_1": "left", "object_2": "a dog", "d_2": "right"}
    ask = Asking(Scripted(lambda question: one if "cat" in question else other))
    assert CATEGORIES["motion_binding"].score(record, torch.rand(16, 3, 8, 8), ask) == pytest.approx(score)


def test_a_change_needs_both_ends_and_most_of_the_middle():
    """The judge sees only one frame at a time, so the ends are told apart by what is in them."""
    frames = torch.linspace(0, 1, 16)[:, None, None, None].expand(16, 3, 4, 4)

    class Seeing:
        name = "seeing"

        def __init__(self, middle: str) -> None:
            self.middle = middle

        def answer(self, pictures: Sequence[Picture], dialogue: Sequence[str], seed: int) -> str:
            if dialogue[-1].startswith("Does"):
                return self.middle
            is_late = pictures[0].mean() > 0.5
            return "A" if ("brown" in dialogue[-1]) == bool(is_late) else "D"

    category, record = CATEGORIES["dynamic_attribute_binding"], RECORDS["dynamic_attribute_binding"]
    assert category.score(record, frames, Asking(Seeing("A"))) == 1
    assert category.score(record, frames, Asking(Seeing("B"))) == 0
    assert category.score(record, frames.flip(0), Asking(Seeing("A"))) == 0
    assert category.score(record, frames[:1].expand(16, 3, 4, 4), Asking(Seeing("A"))) == 0


@pytest.mark.parametrize("category", CATEGORIES)
def test_gibberish_is_no_score_and_is_counted(category: str):
    ask = Asking(Scripted(lambda question: "hm ..."))
    assert CATEGORIES[category].score(RECORDS[category], FRAMES, ask) is None
    assert ask.unanswered > 0


@pytest.mark.parametrize(
    ("text", "letter"),
    [("B", "B"), ("B: yes", "B"), ("The answer is C.", "C"), ("Answer: (D)", "D"), ("A cat. Answer: B", "B"),
     ("none", None), (None, None)],
)  # fmt: skip
def test_letters_are_found(text: str | None, letter: str | None):
    assert letter_of(text, "ABCD") == letter


def test_records_are_checked():
    for category, record in RECORDS.items():
        assert read_records(json.dumps([record]), category, "a.json") == [record]
    with pytest.raises(UserError, match=r"record 1 of motion_binding lacks object_1, d_1"):
        read_records('[{"prompt": "p"}]', "motion_binding", "a.json")
    odd = {**RECORDS["motion_binding"], "d_2": "sideways"}, {**RECORDS["action_binding"], "phrase_1": "a dog?"}
    for record, category, told in zip(odd, ("motion_binding", "action_binding"), ("d_2 must", "phrase_1"), strict=True):
        with pytest.raises(UserError, match=f"record 1 of {category}: {told}"):
            read_records(json.dumps([record]), category, "a.json")
    with pytest.raises(UserError, match="phrases must be text"):
        read_records('[{"prompt": "p", "phrases": ["a cat"]}]', "consistent_attribute_binding", "a.json")
    with pytest.raises(UserError, match="lists of one length"):
        read_records('[{"prompt": "p", "objects": "a, b", "numbers": "1"}]', "generative_numeracy", "a.json")
    for text, told in (("nope", "is no JSON"), ("{}", "list of records")):
        with pytest.raises(UserError, match=told):
            read_records(text, "object_interactions", "a.json")
    with pytest.raises(UserError, match="did you mean"):
        read_records("[]", "object_interaction", "a.json")


def test_a_judge_that_gives_up_is_counted():
    def refuse(question: str) -> str:
        raise Unanswered("too long")

    ask = Asking(Scripted(refuse))
    assert ask([PICTURE], ["?"]) is None and ask.unanswered == 1


def test_an_answer_cut_short_by_a_crash_costs_itself_alone(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    Kept(path).add("a", "yes", question="é?")
    path.write_text(path.read_text() + '{"key": "b", "ans')
    Kept(path).add("c", "no")
    assert Kept(path).known == {"a": "yes", "c": "no"}
