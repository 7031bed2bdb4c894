"""Ranks that are real processes: disjoint data, together the epoch of one, and resumed alike with any workers."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from filming import film
from vitascope import media
from vitascope.data.buckets import BucketsConfig
from vitascope.data.loader import Loader, LoaderConfig, MixedConfig, PixelBatch
from vitascope.data.shards import Record, write_shards

RANKS, EPOCH = 2, 12  # batches of two clips

CODE = """
import itertools, json, sys
import torch.distributed as ranks
sys.path[:0] = [sys.argv[1], f"{sys.argv[1]}/.."]
from test_ranks import told
from vitascope.data.loader import LoaderConfig
_, _, config, store, rank, size, steps, out = sys.argv
ranks.init_process_group("gloo", init_method=f"file://{store}", rank=int(rank), world_size=int(size))
loader = LoaderConfig.model_validate_json(config).build()
own = dict(rank=ranks.get_rank(), ranks=ranks.get_world_size())
straight = [told(batch) for batch in itertools.islice(loader.batches(workers=1 + own["rank"], **own), int(steps))]
resumed = [told(batch) for batch in itertools.islice(loader.batches(2, workers=3, **own), int(steps) - 2)]
of_all = [None] * own["ranks"]
ranks.all_gather_object(of_all, (straight, resumed))
if not own["rank"]:
    open(out, "w").write(json.dumps(of_all))
ranks.barrier()
ranks.destroy_process_group()
"""


def told(batch: PixelBatch) -> tuple[list[list[int]], str]:
    """The clips of a batch, and a name for its pixels and words."""
    content = batch.pixels.numpy().tobytes() + repr((batch.captions, batch.micro.tolist())).encode()
    return [[place.epoch, place.row] for place in batch.places], hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Loader:
    """24 clips in five shards."""
    folder = tmp_path_factory.mktemp("shards")
    content = media.encode(film(12, (32, 16)), ".mp4")
    about = {"fps": 24.0, "num_frames": 12, "seconds": 0.5, "width": 32, "height": 16}
    records = [Record(f"film{n:02d}", content, ".mp4", {"caption": f"film {n}", **about}) for n in range(2 * EPOCH)]
    write_shards(folder, records, per_shard=5)
    buckets = BucketsConfig(area=16 * 32, multiple=8, lengths=(4,), fps=8.0, batch_tokens=64)
    return LoaderConfig(sources=(MixedConfig(path=str(folder)),), buckets=buckets).build()


def test_two_processes_go_through_the_epoch_of_one_and_resume_where_they_were(loader: Loader, tmp_path: Path) -> None:
    steps, out = EPOCH // RANKS, tmp_path / "told.json"
    common = [
        sys.executable,
        "-c",
        CODE,
        str(Path(__file__).parent),
        loader.config.model_dump_json(),
        str(tmp_path / "store"),
    ]
    children = [subprocess.Popen([*common, str(rank), str(RANKS), str(steps), str(out)]) for rank in range(RANKS)]
    assert [child.wait(120) for child in children] == [0] * RANKS
    of_all = json.loads(out.read_text())
    alone = [list(told(batch)) for batch in itertools.islice(loader.batches(workers=2), EPOCH)]
    for rank, (straight, resumed) in enumerate(of_all):
        assert straight == alone[rank::RANKS] and resumed == straight[2:]
    seen = [{tuple(clip) for clips, _ in straight for clip in clips} for straight, _ in of_all]
    assert not seen[0] & seen[1]
    assert seen[0] | seen[1] == {(0, row) for row in range(2 * EPOCH)}
