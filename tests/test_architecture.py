"""The plan of the house holds: who may import whom, what stays out, and what is not loaded for nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
UNWANTED = {"torchvision", "torchaudio"}  # wheels that do not match torch break transformers and diffusers


def test_rooms_import_only_what_they_may(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert result == 0, capsys.readouterr().out


def imported(source: Path) -> set[str]:
    """First parts of the names of all modules that a file imports, late imports too."""
    names = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


def test_what_breaks_other_packages_is_never_imported() -> None:
    assert len(SOURCES) > 5
    offenders = {str(source): imported(source) & UNWANTED for source in SOURCES}
    assert not {source: names for source, names in offenders.items() if names}


def test_every_file_says_in_its_first_line_what_it_is_for() -> None:
    silent = [
        str(source) for source in SOURCES if source.read_text() and not ast.get_docstring(ast.parse(source.read_text()))
    ]
    assert not silent


@pytest.mark.parametrize("words", [(), ("generate",), ("upsample",), ("evaluate", "toyland"), ("evaluate", "views")])
def test_help_comes_without_torch(words: tuple[str, ...]) -> None:
    code = """
import sys
from vitascope.cli import main
sys.argv = ["vitascope", *sys.argv[1:], "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
heavy = {"torch", "av", "scipy", "diffusers", "transformers"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "generate" in done.stdout if not words else ", unipc or sde." in done.stdout
