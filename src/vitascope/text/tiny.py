"""A small text encoder that is trained with the model, and its own byte-level tokenizer."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import resources
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vitascope.config import Amount, Config, Count
from vitascope.nn.attention import Attention
from vitascope.nn.layers import FeedForward, ResidualBlock
from vitascope.nn.positions import Turns, rotary_1d
from vitascope.protocols import TextFeatures
from vitascope.text.length import too_long

PAD, BEGIN, END = 0, 1, 2
NUM_SPECIAL = 3
NUM_BYTES = 256

WORD = re.compile(r" ?\w+| ?[^\w\s]+|\s")
"""A word or punctuation with the space before it, or a lone space: every text is the sum of its matches."""

Pair = tuple[int, int]


class BytePairs:
    """Byte-pair encoding (Sennrich et al. 2016) over the bytes of UTF-8, so that no text is unknown.

    Ids: pad, begin, end; then the 256 bytes; then one for each of `merges`, in the order in which they were learned. A
    space is put before the text, so that its first word is the same token as anywhere else; `decode` takes it away.
    """

    def __init__(self, merges: Iterable[Pair]) -> None:
        self.merges = tuple(merges)
        self.pieces = [b""] * NUM_SPECIAL + [bytes([byte]) for byte in range(NUM_BYTES)]
        for left, right in self.merges:
            self.pieces.append(self.pieces[left] + self.pieces[right])
        self._ranks = {pair: NUM_SPECIAL + NUM_BYTES + rank for rank, pair in enumerate(self.merges)}
        self._words: dict[str, list[int]] = {}  # words seen before: captions repeat the same few

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without begin and end."""
        return [token for word in words_of(text) for token in self._encode_word(word)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text whose `encode` gave `ids`. Special ids say nothing; bytes that are not UTF-8 become U+FFFD."""
        return b"".join(self.pieces[token] for token in ids).decode("utf-8", "replace").removeprefix(" ")

    def _encode_word(self, word: str) -> list[int]:
        if word not in self._words:
            if len(self._words) >= 65_536:
                self._words.clear()
            self._words[word] = self._merge_all(bytes_of(word))
        return self._words[word]

    def _merge_all(self, ids: list[int]) -> list[int]:
        while len(ids) > 1:
            first = min(self._ranks.get(pair, len(self)) for pair in pairwise(ids))
            if first == len(self):
                break
            ids = merge(ids, self.merges[first - NUM_SPECIAL - NUM_BYTES], first)
        return ids

    @classmethod
    def learn(cls, texts: Iterable[str], size: int) -> BytePairs:
        """The tokenizer of at most `size` ids whose merges are the most frequent pairs inside the words of `texts`."""
        counts: Counter[str] = Counter()
        for text, times in Counter(texts).items():
            for word in words_of(text):
                counts[word] += times
        words = [(bytes_of(word), count) for word, count in counts.items()]
        merges: list[Pair] = []
        for new in range(NUM_SPECIAL + NUM_BYTES, size):
            pairs: Counter[Pair] = Counter()
            for ids, count in words:
                for pair in pairwise(ids):
                    pairs[pair] += count
            if not pairs:
                break
            best = max(pairs, key=lambda pair: (pairs[pair], pair))
            merges.append(best)
            words = [(merge(ids, best, new) if best[0] in ids else ids, count) for ids, count in words]
        return cls(merges)

    @classmethod
    def load(cls) -> BytePairs:
        """The vocabulary that comes with the package."""
        return cls.from_json(resources.files("vitascope.text").joinpath("vocabulary.json").read_text("utf-8"))

    @classmethod
    def from_json(cls, text: str) -> BytePairs:
        return cls((left, right) for left, right in json.loads(text)["merges"])

    def to_json(self) -> str:
        return json.dumps({"merges": self.merges}, separators=(",", ":"))


def words_of(text: str) -> list[str]:
    return WORD.findall(f" {text}") if text else []


def bytes_of(word: str) -> list[int]:
    return [NUM_SPECIAL + byte for byte in word.encode("utf-8", "surrogatepass")]


def merge(ids: list[int], pair: Pair, new: int) -> list[int]:
    """`ids` with every `pair` replaced by `new`, from the left."""
    merged: list[int] = []
    for token in ids:
        if merged and (merged[-1], token) == pair:
            merged[-1] = new
        else:
            merged.append(token)
    return merged


class TinyTextConfig(Config):
    width: Count = 192
    depth: Count = 2
    heads: Count = 3
    max_tokens: Count = 64  # with begin and end; captions of Toyland take 12 to 35
    # At first. 1: as large as what the layers add, so that the feature of a token still tells its own word.
    embedding_std: Amount = 0.02

    def build(self) -> TinyText:
        return TinyText(self, BytePairs.load())


class Layer(ResidualBlock):
    """Attention, then the feed-forward layer, each normed before and added to the stream."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(width), Attention(width, heads, "text", qk_norm=False)
        self.mlp_norm, self.mlp = nn.LayerNorm(width), FeedForward(width)

    def forward(self, x: Float[Tensor, "b l d"], mask: Bool[Tensor, "b l"], turns: Turns) -> Float[Tensor, "b l d"]:
        x = x + self.attention(self.attention_norm(x), mask=mask, turns=turns)
        return x + self.mlp(self.mlp_norm(x))


class TinyText(nn.Module):
    """A transformer over the tokens of a caption; `pooled` is the feature of the end token (STIV, section 2.1).

    It looks both ways: in a causal tower, as STIV's CLIP has, "red" cannot know which noun follows it, and the backbone
    attends to every token. Positions are rotary, so captions longer than those of the training keep sensible ones.
    """

    def __init__(self, config: TinyTextConfig, tokenizer: BytePairs) -> None:
        super().__init__()
        self.config, self.tokenizer = config, tokenizer
        self.width, self.max_tokens = config.width, config.max_tokens
        self.embed = nn.Embedding(len(tokenizer), config.width)
        self.layers = nn.ModuleList(Layer(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        nn.init.normal_(self.embed.weight, std=config.embedding_std)

    def forward(self, captions: Sequence[str]) -> TextFeatures:
        ids, mask = self.tokenize(captions)
        places = torch.arange(ids.shape[1], device=ids.device, dtype=torch.float32)
        turns = rotary_1d(places, self.width // self.config.heads)
        x = self.embed(ids)  # b l d
        for layer in self.layers:
            x = layer(x, mask, turns)
        x = self.norm(x)
        rows = torch.arange(len(captions), device=ids.device)
        return TextFeatures(tokens=x, mask=mask, pooled=x[rows, mask.sum(1) - 1])

    def tokenize(self, captions: Sequence[str]) -> tuple[Int[Tensor, "b l"], Bool[Tensor, "b l"]]:
        """Ids from begin to end, padded to the longest caption, and which of them are real."""
        rows = [self.ids(caption) for caption in captions]
        length = max(len(row) for row in rows)
        ids = torch.tensor([row + [PAD] * (length - len(row)) for row in rows], device=self.embed.weight.device)
        return ids, ids != PAD

    def ids(self, caption: str) -> list[int]:
        ids = [BEGIN, *self.tokenizer.encode(plain(caption)), END]
        if len(ids) > self.max_tokens:
            read = self.tokenizer.decode(ids[: self.max_tokens - 1])
            raise too_long(caption, len(ids), self.max_tokens, read)
        return ids

    def count(self, caption: str) -> int:
        """Tokens of `caption`, with begin and end; at most `max_tokens` can be read."""
        return len(self.tokenizer.encode(plain(caption))) + 2


def plain(caption: str) -> str:
    """What is read of a caption: lower case (as CLIP does), single spaces, no full stop at the end."""
    return " ".join(caption.lower().split()).rstrip(" .")
