"""Laws of what users are told to type."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from pathlib import Path

import vitascope
from vitascope.errors import install


def test_every_extra_that_is_told_to_be_installed_can_be() -> None:
    source = Path(vitascope.__file__).parent
    texts = [path.read_text(encoding="utf-8") for path in source.rglob("*.py")]
    named = {extra for text in texts for extra in re.findall(r"\{install\('(\w+)'\)\}", text)}
    extras = tomllib.loads((source.parents[1] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"hub", "plot"} <= named <= extras.keys()
    assert not any(re.search(r"install 'vitascope\[", text) for text in texts)  # which is on no index
    for extra in named:
        python, *_, folder, option, constraints = shlex.split(install(extra))
        assert (python, option) == (sys.executable, "-c")
        assert folder.endswith(f"[{extra}]")
        assert (Path(folder.partition("[")[0]) / "pyproject.toml").is_file()
        assert Path(constraints).is_file()
