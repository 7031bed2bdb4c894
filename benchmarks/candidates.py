"""What choosing between candidates gives: how often the one that is kept shows all of its words, by their number.

python benchmarks/candidates.py [--model DIR] [--num 128] [--candidates 16] [--task picture|image|text] [--bf16]

Candidates of one request of Toyland's test scenes, pictures as first frames of videos; the judge is
`sample.candidates.text_evidence`, the truth the oracle. Beside it any one of them, and the best that could have been
kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from vitascope.evaluate.questions import SCENES_PER_SEED, Question, question
from vitascope.evaluate.toyland import counted
from vitascope.sample.candidates import text_evidence
from vitascope.sample.chain import long_or_short
from vitascope.sample.generate import decode
from vitascope.sample.legal import legalise
from vitascope.sample.loading import load_own
from vitascope.system import VideoModel
from vitascope.types import Clip

SEED = 77


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path)
    parser.add_argument("--num", type=int, default=128, help="scenes")
    parser.add_argument("--candidates", type=int, default=16)
    parser.add_argument("--task", choices=("picture", "image", "text"), default="picture")
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args()
    model = load_own(args.model).system
    rules = {"picture_candidates": 1, "precision": "bf16" if args.bf16 else "fp32"}
    told, shown = [], []
    for number in range(args.num):
        asked = question("seen", "one", SEED * SCENES_PER_SEED + number, "both", args.task)
        said, right = candidates_of(model, asked, args.candidates, rules)
        told.append(said)
        shown.append(right)
    by_model, by_oracle = torch.stack(told), torch.stack(shown)
    table = Table("of", "any", "the model's choice", "the best", title=f"everything right, {args.num} scenes")
    count = 1
    while count <= args.candidates:
        some = by_oracle[:, :count]
        kept = some.gather(1, by_model[:, :count].argmax(1, keepdim=True))
        table.add_row(str(count), *(f"{share.mean():.3f}" for share in (some, kept, some.amax(1))))
        count *= 2
    Console().print(table)


def candidates_of(model: VideoModel, asked: Question, count: int, rules: Mapping[str, object]) -> tuple[Tensor, Tensor]:
    """For each candidate what the model says of it, and whether the oracle finds all that was asked."""
    one = legalise(model, replace(asked.request, rules=rules))
    one = replace(one, is_first_frame=one.num_frames == 1 and one.rules.first_frame_told)
    candidates = [replace(one, candidate=number) for number in range(count)]
    made = long_or_short(model, candidates)
    clips = [Clip(decode(model, video), one.fps) for video in made]
    right = [counted(clip, asked.wanted)["all"].value for clip in clips]
    return text_evidence(model, candidates, made), torch.tensor(right)


if __name__ == "__main__":
    main()
