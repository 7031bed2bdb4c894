"""Laws of the tokenizer and of the small text encoder."""

import json
from importlib import resources

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vitascope.protocols import TextEncoder
from vitascope.text.tiny import END, BytePairs, TinyText, TinyTextConfig
from vitascope.types import UserError

SHORT = "a small red circle moves left on a black background"
LONG = (
    "a large orange diamond circles around quickly while a small purple triangle stays still "
    "on a navy background, the camera pans left, as a line drawing"
)
WORDS = """a an small large red green blue yellow purple orange white cyan circle square triangle star ring cross heart
diamond circles squares triangles stars rings crosses hearts diamonds stays still moves left right up down bounces spins
around zigzags grows shrinks blinks slowly quickly on black grey navy beige background while to the of above below two
three four turns from into pushes chases orbits passes behind off camera pans tilts zooms in out as line drawing and
pixel art meadow beach at night snow""".split()

TOKENIZER = BytePairs.load()


@pytest.fixture(scope="module")
def encoder() -> TinyText:
    torch.manual_seed(0)
    return TinyTextConfig(width=32, heads=2).build().eval()


@given(st.text())
@example("")
@example(" ")
@example("  two  spaces\tand\na line ")
@example("naïve 猫 😀👩‍👩‍👧 ﷽ \u0000\u2028\U0010ffff")
@settings(deadline=None)
def test_every_text_comes_back_exactly(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    assert all(0 <= token < len(TOKENIZER) for token in ids)


@given(st.lists(st.integers(0, len(TOKENIZER) - 1)))
@settings(deadline=None)
def test_any_ids_can_be_read(ids: list[int]) -> None:
    assert isinstance(TOKENIZER.decode(ids), str)


@given(st.text(), st.text())
@settings(deadline=None)
def test_words_are_encoded_alone(left: str, right: str) -> None:
    """No merge crosses a space, so a word is the same tokens in every sentence."""
    left, right = f"{left}.", f"x{right}"
    assert TOKENIZER.encode(f"{left} {right}") == TOKENIZER.encode(left) + TOKENIZER.encode(right)


def test_each_word_of_toyland_is_one_token() -> None:
    assert [word for word in WORDS if len(TOKENIZER.encode(word)) != 1] == []
    assert len(TOKENIZER.encode(SHORT)) == len(SHORT.split())


def test_a_lone_surrogate_from_the_command_line_breaks_nothing() -> None:
    assert TOKENIZER.encode("a \udcff b")


def test_shipped_merges_are_what_the_shipped_corpus_teaches() -> None:
    shipped = json.loads(resources.files("vitascope.text").joinpath("vocabulary.json").read_text("utf-8"))
    texts = [part["words"] for part in shipped["corpus"] for _ in range(part["weight"])]
    assert BytePairs.learn(texts, shipped["size"]).merges == TOKENIZER.merges


@given(st.lists(st.text(), max_size=5), st.integers(259, 300))
@settings(deadline=None, max_examples=30)
def test_learning_shortens_what_was_learned_and_survives_json(texts: list[str], size: int) -> None:
    learned, plain = BytePairs.learn(texts, size), BytePairs(())
    assert len(learned) <= size
    assert BytePairs.from_json(learned.to_json()).merges == learned.merges
    for text in texts:
        assert len(learned.encode(text)) <= len(plain.encode(text))
        assert learned.decode(learned.encode(text)) == text


def test_it_is_a_text_encoder(encoder: TinyText) -> None:
    assert isinstance(encoder, TextEncoder)
    features = encoder([SHORT, "", LONG])
    counts = torch.tensor([encoder.count(SHORT), encoder.count(""), encoder.count(LONG)])
    assert features.tokens.shape == (3, counts.max(), encoder.width)
    assert features.mask.sum(1).equal(counts)
    assert counts[1] == 2


def test_pooled_is_the_end_token(encoder: TinyText) -> None:
    ids, _ = encoder.tokenize([SHORT, "", LONG])
    features = encoder([SHORT, "", LONG])
    assert torch.equal(features.pooled, features.tokens[ids == END])


def test_features_do_not_depend_on_company(encoder: TinyText) -> None:
    together = encoder([SHORT, "", LONG])
    for row, caption in enumerate([SHORT, "", LONG]):
        alone = encoder([caption])
        torch.testing.assert_close(together.tokens[row][together.mask[row]], alone.tokens[0])
        torch.testing.assert_close(together.pooled[row], alone.pooled[0])


def test_every_word_reaches_every_feature(encoder: TinyText) -> None:
    """Bidirectional: the first token already knows the last word."""
    here, there = encoder(["a red circle"]), encoder(["a red square"])
    assert (here.tokens - there.tokens).abs().amax((0, 2)).gt(1e-4).all()
    assert not torch.allclose(encoder(["a red star above a ring"]).pooled, encoder(["a red ring above a star"]).pooled)


def test_gradients_reach_every_weight_but_not_padding() -> None:
    encoder = TinyTextConfig(width=32, heads=2).build()
    features = encoder([SHORT, ""])
    (features.tokens[features.mask].square().sum() + features.pooled.sum()).backward()
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all() and weight.grad.any(), name
    assert not encoder.embed.weight.grad[0].any()


@pytest.mark.parametrize("said", ["A Small RED circle  moves left\non a black background.", f"  {SHORT} "])
def test_case_spaces_and_full_stop_say_nothing(encoder: TinyText, said: str) -> None:
    assert torch.equal(encoder([said]).tokens, encoder([SHORT]).tokens)


def test_too_long_a_text_is_refused_with_numbers(encoder: TinyText) -> None:
    longest = " ".join(["red"] * (encoder.max_tokens - 2))
    assert encoder([longest]).mask.shape == (1, encoder.max_tokens)
    with pytest.raises(UserError, match=rf"takes {encoder.max_tokens + 1} tokens .* reads {encoder.max_tokens}"):
        encoder([f"{longest} red"])
