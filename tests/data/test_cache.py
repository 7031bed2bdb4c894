"""Laws of the cache of latents: it cannot go stale, survives a kill, and deals clips by step and seed alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from vitascope.conditions import MICRO
from vitascope.data import cache
from vitascope.data.cache import CLIPS_PER_SHARD, LatentCache, cache_key, open_cache
from vitascope.protocols import Tokenizer
from vitascope.tokenizers.frame_vae import FrameVae, FrameVaeConfig
from vitascope.types import Clip, UserError, generator_for


@dataclass
class Source:
    """Clips of two frames of noise; each is one clip's number away from any other."""

    identity: str = "noise, version 1"
    drawn: int = 0
    dies_at: int = -1

    def clip(self, index: int) -> Clip:
        self.drawn += 1
        if index == self.dies_at:
            raise KeyboardInterrupt
        return Clip(torch.rand(2, 3, 8, 8, generator=generator_for(0, "clip", index)), fps=8.0)

    def captions(self, index: int) -> tuple[str, ...]:
        return (f"clip {index}", f"noise number {index}", f"{index}")


def tokenizer() -> FrameVae:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FrameVaeConfig(channels=4, widths=(4, 8), encoder_blocks=(0, 0), decoder_blocks=(0, 0)).build()


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def latents(root) -> LatentCache:
    return open_cache(root, Source(), tokenizer(), 300)


def shards(folder: Path) -> dict[str, tuple]:
    """Every file with what it holds."""
    held = {}
    for path in folder.rglob("*.*"):
        with safe_open(path, "pt") as file:
            held[path.name] = file.metadata(), file.get_tensor("latents").numpy().tobytes()
    return held


def test_the_cache_holds_what_the_tokenizer_makes_of_each_clip(latents):
    vae = tokenizer()
    assert isinstance(vae, Tokenizer)
    assert latents.latents.shape == (300, 2, 4, 1, 1)
    for index in (0, CLIPS_PER_SHARD, 299):
        expected = vae.encode(Source().clip(index).pixels[None])[0].half()
        torch.testing.assert_close(latents.latents[index], expected)
        assert tuple(latents.captions[index]) == Source().captions(index)


def test_what_is_there_is_not_made_again(root, latents):
    source = Source()
    open_cache(root, source, tokenizer(), 300)
    assert source.drawn == 0


def test_the_key_changes_with_the_source_and_with_any_weight_and_with_nothing_else():
    key, vae = cache_key(Source(), tokenizer()), tokenizer()
    assert cache_key(Source(), vae) == key
    assert cache_key(Source("noise, version 2"), vae) != key
    for name in vae.state_dict():
        other = tokenizer()
        weight = other.state_dict()[name]
        with torch.no_grad():
            weight[(0,) * weight.ndim] += 1e-6
        assert cache_key(Source(), other) != key


def test_a_killed_fill_goes_on_and_ends_with_the_same_latents(root, latents, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        open_cache(tmp_path, Source(dies_at=CLIPS_PER_SHARD + 7), tokenizer(), 300)
    source = Source()
    open_cache(tmp_path, source, tokenizer(), 300)
    assert source.drawn == 300 - CLIPS_PER_SHARD
    assert shards(tmp_path) == shards(root)


def test_a_cache_grows_by_what_is_missing(root, latents, tmp_path):
    open_cache(tmp_path, Source(), tokenizer(), 10)
    source = Source()
    grown = open_cache(tmp_path, source, tokenizer(), 300)
    assert source.drawn == 300 - 10
    assert torch.equal(grown.latents, latents.latents)
    assert shards(tmp_path) == shards(root)


def test_only_what_is_asked_for_is_drawn_and_what_is_there_for_more_serves_less(root, latents, tmp_path):
    source = Source()
    few = open_cache(tmp_path, source, tokenizer(), 10)
    assert source.drawn == 10
    again = open_cache(root, source, tokenizer(), 10)
    assert source.drawn == 10 and shards(root)["00000.safetensors"][0] != shards(tmp_path)["00000.safetensors"][0]
    assert torch.equal(few.latents, again.latents) and few.captions == again.captions
    with pytest.raises(UserError, match="holds 10 clips and 11 were to be there"):
        LatentCache(tmp_path / cache_key(Source(), tokenizer()), 11)


def test_progress_is_told_of_shards_still_to_make(root, latents, tmp_path):
    seen = []

    def track(items, what):
        seen.append(list(items))
        return iter(items)

    open_cache(tmp_path, Source(), tokenizer(), 300, track)
    open_cache(tmp_path, Source(), tokenizer(), 300, track)
    assert seen == [[0, 1], []]


def test_two_runs_may_fill_one_cache_and_each_clip_is_drawn_once(latents, tmp_path):
    mine, other = Source(), Source()

    def overtaken(items, what):
        open_cache(tmp_path, other, tokenizer(), 300)
        return iter(items)

    assert torch.equal(open_cache(tmp_path, mine, tokenizer(), 300, overtaken).latents, latents.latents)
    assert (mine.drawn, other.drawn) == (0, 300)


def test_a_damaged_shard_and_an_empty_wish_are_refused_in_words(root, latents, tmp_path):
    open_cache(tmp_path, Source(), tokenizer(), 10)
    (shard,) = tmp_path.rglob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(UserError, match=r"00000\.safetensors' is damaged"):
        open_cache(tmp_path, Source(), tokenizer(), 10)
    with pytest.raises(UserError, match="num_clips 0"):
        open_cache(tmp_path, Source(), tokenizer(), 0)


def test_a_place_that_cannot_be_written_is_refused_in_words(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="could not write latents"):
        open_cache(tmp_path / "file", Source(), tokenizer(), 10)


# Batches


def numbers(latents: LatentCache, step: int, size: int, seed: int = 0) -> list[int]:
    return [int(caption.split()[-1]) for caption in latents.batch(step, size, seed).captions]


def test_a_batch_is_a_function_of_step_and_seed_alone(root, latents):
    again = LatentCache(next(root.iterdir()), 300)
    for step in (5, 80, 5):  # in any order, from any cache of the same clips
        one, same = latents.batch(step, 8, 3), again.batch(step, 8, 3)
        assert torch.equal(one.clean, same.clean)
        assert one.captions == same.captions
    assert latents.batch(5, 8, 3).captions != latents.batch(5, 8, 4).captions
    assert latents.batch(5, 8, 3).captions != latents.batch(6, 8, 3).captions


@pytest.mark.parametrize("size", [1, 7, 100, 300, 450])
def test_each_epoch_shows_every_clip_once(latents, size):
    dealt = [number for step in range(-(-900 // size)) for number in numbers(latents, step, size)]
    for epoch in range(3):
        assert sorted(dealt[epoch * 300 : (epoch + 1) * 300]) == list(range(300))


def test_each_epoch_has_an_order_of_its_own(latents):
    assert numbers(latents, 0, 300) != numbers(latents, 1, 300)


def test_every_clip_comes_with_a_caption_of_its_own_each_of_them_in_turn(latents):
    batches = [latents.batch(step, 300, 0) for step in range(4)]
    for batch in batches:
        for clean, caption in zip(batch.clean, batch.captions, strict=True):
            number = int(caption.split()[-1])
            assert caption in Source().captions(number)
            assert torch.equal(clean, latents.latents[number].float())
    kinds = Counter(len(caption.split()) for batch in batches for caption in batch.captions)
    assert all(300 < kinds[words] < 500 for words in (1, 2, 3))


def test_a_batch_of_images_holds_one_frame_of_each_clip_any_of_them(latents):
    batch = latents.batch(0, 300, 0, pictures=1)
    assert batch.clean.shape == (300, 1, 4, 1, 1)
    order = numbers(latents, 0, 300)
    matches = (batch.clean == latents.latents[order].float()).all((2, 3, 4))
    assert matches.any(1).all()
    assert 100 < matches[:, 0].sum() < 200


def test_of_pictures_a_share_are_first_frames_that_are_told_what_they_begin(latents):
    whole, at = latents.latents.shape[1], MICRO.index("num_frames")
    pictures = latents.batch(0, 300, 0, pictures=2, first_frames=0.7)
    told = pictures.micro[:, at]
    assert set(told.tolist()) == {1.0, float(whole)}
    firsts = told == whole
    assert 180 < firsts.sum() < 240
    clips = torch.tensor(numbers(latents, 0, 150)).repeat_interleave(2)
    assert torch.equal(pictures.clean[firsts], latents.latents[clips[firsts], :1].float())
    others = latents.batch(0, 300, 0, pictures=2)
    assert torch.equal(pictures.clean[~firsts], others.clean[~firsts]) and pictures.captions == others.captions
    assert torch.equal(pictures.micro[:, :at], others.micro[:, :at]) and (others.micro[:, at] == 1).all()


def test_several_pictures_of_a_clip_share_its_caption(latents):
    batch = latents.batch(0, 7, 0, pictures=3)
    first = latents.batch(0, 3, 0)
    assert batch.captions == tuple(first.captions[clip] for clip in (0, 0, 0, 1, 1, 1, 2))
    for picture, clip in zip(batch.clean, (0, 0, 0, 1, 1, 1, 2), strict=True):
        assert (picture == first.clean[clip]).all((1, 2, 3)).any()


def test_batches_are_single_precision_and_at_their_own_pace(latents):
    batch = latents.batch(0, 3, 0)
    assert batch.clean.dtype == torch.float32
    assert batch.micro.tolist() == [[8, 8, 0, 0, 1, 2]] * 3


def test_a_batch_is_the_callers_to_change(latents):
    before = latents.latents.clone()
    latents.batch(0, 8, 0).clean.zero_()
    assert torch.equal(latents.latents, before)


def test_the_number_of_shards_covers_the_clips():
    for num in (1, CLIPS_PER_SHARD, CLIPS_PER_SHARD + 1, 10 * CLIPS_PER_SHARD):
        assert (cache.num_shards(num) - 1) * CLIPS_PER_SHARD < num <= cache.num_shards(num) * CLIPS_PER_SHARD
