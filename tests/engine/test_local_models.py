"""Captions and judgements by models in folders, and what CLIP sees, on tiny random networks of the real classes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from beside import needs
from chatting import SMALL, WORDS, tiny_llama, tiny_llava
from engine.footage import VIDEOS, waves, write
from vitascope.config import override
from vitascope.engine import captions, embedding, executors
from vitascope.engine.config import Curate
from vitascope.engine.embedding import HEADS, checked_head, features_of_vectors
from vitascope.engine.local_models import local_model
from vitascope.engine.run import curate
from vitascope.engine.sources import find
from vitascope.errors import UserError
from vitascope.evaluate.judges.asking import identity

HEAD_FILES = VIDEOS.parent / "weights" / "laion_aesthetic_linear"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    write(folder / "waves.mp4", waves(24, seed=1))
    write(folder / "named.mp4", waves(24, seed=2))
    (folder / "named.txt").write_text("yes it is\n")
    return folder


@pytest.fixture(autouse=True)
def nothing_loaded() -> None:
    local_model.cache_clear()
    identity.cache_clear()


def run(raw: Path, out: Path, *changes: str) -> tuple[dict, dict[str, dict]]:
    import pyarrow.parquet

    settings = override(Curate(), "captions.frames", "2")
    for change in changes:
        settings = override(settings, *change.split("="))
    funnel = curate(find([raw], out), out, settings, executors.in_process)
    rows = pyarrow.parquet.read_table(out / "manifest.parquet").to_pylist()
    return funnel, {row["source"]: row for row in rows}


def test_models_in_folders_caption_and_are_not_asked_twice(raw: Path, tmp_path: Path, monkeypatch) -> None:
    torch.manual_seed(0)
    eyes, mouth, out = tiny_llava(tmp_path / "vlm"), tiny_llama(tmp_path / "llm"), tmp_path / "out"
    on = ("captions.on=true", f"captions.captioner.folder={eyes}", "captions.captioner.max_tokens=4")
    funnel, rows = run(raw, out, *on)
    said = rows["waves.mp4"]["caption"]
    assert said and set(said.split()) <= set(WORDS[4:]) and rows["named.mp4"]["caption"] == "yes it is"
    assert funnel["captions"]["clips"] == 2 and funnel["captions"]["no answer"] == 0

    by_frames = (
        *on,
        "captions.by_frames=true",
        f"captions.summariser.folder={mouth}",
        "captions.summariser.max_tokens=4",
    )
    assert set(run(raw, out, *by_frames)[1]["waves.mp4"]["caption"].split()) <= set(WORDS[4:])
    kept = [path.read_text() for path in (out / "work" / "answers").iterdir()]
    answers = [json.loads(line) for text in kept for line in text.splitlines()]
    assert [one["model"].split()[0] for one in answers] == ["vlm"] * 3 + ["llm"]

    monkeypatch.setattr(captions, "local_model", lambda *_: pytest.fail("a model was asked again"))
    assert run(raw, out, *on)[1]["waves.mp4"]["caption"] == said
    torch.manual_seed(1)
    identity.cache_clear()
    tiny_llava(eyes)  # another model behind the same path
    with pytest.raises(pytest.fail.Exception, match="asked again"):
        run(raw, out, *on)


def test_a_folder_that_holds_no_such_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must be the folder"):
        identity(tmp_path / "none")
    with pytest.raises(UserError, match="holds no model"):
        local_model(tmp_path, 4)
    mouth = local_model(tiny_llama(tmp_path / "llm"), 4)
    assert mouth.name == f"{identity(tmp_path / 'llm')} (transformers, greedy)"
    with pytest.raises(UserError, match="reads text alone"):
        mouth.answer([torch.zeros(3, 8, 8)], ["is it ?"], 0)


# What CLIP sees.


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of 8 pixels whose vectors are as long as those of ViT-B/32."""
    folder = tmp_path_factory.mktemp("clip")
    names = ["<|startoftext|>", "<|endoftext|>", "a</w>"]
    transformers.CLIPTokenizer(vocab={name: k for k, name in enumerate(names)}, merges=[]).save_pretrained(folder)
    torch.manual_seed(0)
    transformers.CLIPModel(
        transformers.CLIPConfig(
            text_config={**SMALL, "num_hidden_layers": 1, "vocab_size": 3, "max_position_embeddings": 12},
            vision_config={**SMALL, "num_hidden_layers": 1, "image_size": 8, "patch_size": 4}, projection_dim=512,
        )
    ).save_pretrained(folder)  # fmt: skip
    return folder


@needs(HEAD_FILES)
def test_aesthetics_and_consistency_become_features_and_a_threshold_embeds_nothing_again(
    raw: Path, clip: Path, tmp_path: Path, monkeypatch
) -> None:
    out = tmp_path / "out"
    head = HEAD_FILES / "sa_0_4_vit_b_32_linear.pth"
    on = ("embedding.on=true", f"embedding.clip={clip}", f"embedding.head={head}", "embedding.frames=3")
    _, rows = run(raw, out, *on)
    rating = {name: row["aesthetics"] for name, row in rows.items()}
    assert len(rating) == 2 and all(-1 < row["embedding_consistency"] <= 1 for row in rows.values())
    for path in (out / "work" / "embedded").iterdir():
        vectors = np.load(path)
        assert vectors.shape == (3, 512) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    monkeypatch.setattr(embedding._Reader, "_made", lambda *_: pytest.fail("a clip was embedded again"))
    limit = sum(rating.values()) / 2
    funnel, rows = run(raw, out, *on, f"embedding.least_aesthetics={limit}")
    assert [*rows] == [max(rating, key=rating.__getitem__)]
    assert funnel["pieces"]["embedding: not beautiful"]["pieces"] == 1
    assert sum(count["frames"] for count in funnel["pieces"].values()) == funnel["frames"]["decoded"] == 48
    beautiful = json.dumps([{"name": "beautiful", "least_aesthetics": limit}])
    assert sorted(row["tier"] for row in run(raw, out, *on, f"tiers={beautiful}")[1].values()) == ["all", "beautiful"]
    with pytest.raises(UserError, match=r"vectors of 768 numbers.*clip-vit-large-patch14"):
        run(raw, out, *on[:2], f"embedding.head={HEAD_FILES / 'sa_0_4_vit_l_14_linear.pth'}", "embedding.frames=3")


@needs(HEAD_FILES)
def test_the_published_heads_give_the_known_ratings() -> None:
    known = {
        0: [-2.4579, -0.1379, 1.8951, 3.5849, 5.0997, 6.4701, 7.7870, 9.0480, 10.2264, 11.3044],
        1: [-1.4700, 0.2728, 1.9900, 3.6114, 5.0874, 6.3926, 7.6682, 8.9155, 9.9166, 11.0056],
    }
    for number, ratings in known.items():
        path = HEAD_FILES / HEADS[number].file
        assert checked_head(path) is HEADS[number]
        rate = embedding._rating(Curate().embedding.model_copy(update={"head": str(path)}))
        which = HEADS[number].file.removeprefix("sa_0_4_").removesuffix("_linear.pth")
        for rating, answer in enumerate(ratings):
            mean = np.load(HEAD_FILES / "mean_embeddings" / f"{which}_rating{rating}.npy").reshape(1, -1)
            vectors = torch.nn.functional.normalize(torch.from_numpy(mean).float(), dim=1)
            assert features_of_vectors(vectors, rate)["aesthetics"] == pytest.approx(answer, abs=2e-4)


def test_what_is_missing_is_told_with_the_command_that_fetches_it(raw: Path, clip: Path, tmp_path: Path) -> None:
    other = tmp_path / "head.pth"
    other.write_bytes(b"something else")
    for changes, told in (
        (("embedding.least_aesthetics=5",), "nothing measures them; fetch"),
        (("embedding.least_consistency=0.9",), "needs embedding.on=true"),
        (("embedding.on=true",), "must be the folder of a CLIP, got ''; fetch"),
        (("embedding.on=true", f"embedding.clip={clip}", "embedding.head=x.pth"), r"there is none at.*curl -LO https"),
        (("embedding.on=true", f"embedding.clip={clip}", f"embedding.head={other}"), "none of LAION's heads"),
    ):
        with pytest.raises(UserError, match=told):
            run(raw, tmp_path / "out", *changes)


def test_frames_that_stay_alike_are_consistent() -> None:
    one, other = torch.eye(2)
    assert features_of_vectors(torch.stack([one, one, one]), None) == {"embedding_consistency": 1.0}
    assert features_of_vectors(torch.stack([one, other, one]), None) == {"embedding_consistency": 0.0}
    assert features_of_vectors(one[None], None) == {"embedding_consistency": 1.0}
