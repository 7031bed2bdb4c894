"""An arena that is served for as long as a test needs it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vitascope.evaluate.arena.server import ArenaServer
from vitascope.evaluate.arena.votes import Votes, open_arena


@contextmanager
def served(folders: Sequence[Path], kept: Path) -> Iterator[ArenaServer]:
    votes = Votes(kept)
    with ArenaServer(open_arena(folders), votes) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
    votes.close()
