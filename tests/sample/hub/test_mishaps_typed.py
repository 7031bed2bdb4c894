"""What goes wrong on an evening, at the real command line: it is said in one line, and no work is lost."""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub
import pytest
import torch
from families import Folder, Load
from safetensors.torch import load_file, save_file
from test_checkpoints import failing_decoder

from shell import Shell
from vitascope import media

FEW = ("--num-frames", "5", "--size", "32x32", "--steps", "2", "--seed", "3")


def typed(folder: Path, *more: str, out: str = "out.mp4") -> tuple[str, ...]:
    return ("generate", "a red circle", "--model", f"hub:{folder}", *FEW, "--out", out, *more)


@pytest.fixture
def copy(folder_of: Folder, tmp_path: Path) -> Path:
    """A checkpoint to be spoilt, with a blank in its name."""
    return Path(shutil.copytree(folder_of("wan"), tmp_path / "my copy"))


def test_a_decode_without_memory_is_tried_in_other_ways_and_the_video_is_the_same(
    shell: Shell, folder_of: Folder, model_of: Load
) -> None:
    folder, model = folder_of("wan"), model_of("wan")
    shell.done(*typed(folder, out="whole.mp4"))
    whole = media.read_video("whole.mp4").pixels
    for times, way in ((1, "in tiles"), (2, "on the processor")):
        with failing_decoder(model, times):
            said = shell.done(*typed(folder, "--force"))
        assert f"note: decoded {way}: the memory was full" in said
        assert media.read_settings("out.mp4")["hub"]["decoded"].startswith(way)
        assert (media.read_video("out.mp4").pixels - whole).abs().max() < 0.02  # sums in another order
    with failing_decoder(model, 99):
        code, said = shell.heard(*typed(folder, "--dtype", "fp32", out="last.mp4"))
    assert code == 2
    assert "the memory ran out after step 2 of 2; try --offload model" in said
    assert not Path("last.mp4").exists()
    (finish,) = re.findall("the sampled video is not lost: vitascope (.*)", said)
    assert "last.latents.safetensors' holds finished work" in shell.refused(*typed(folder, out="last.mp4"))
    assert "last.mp4: 5 frames" in shell.done(*shlex.split(finish))
    assert torch.equal(media.read_video("last.mp4").pixels, whole)


def test_numbers_that_are_none_are_told_with_step_and_part_and_no_black_video_is_written(
    shell: Shell, copy: Path
) -> None:
    for part, value, said in (
        ("transformer", float("nan"), "step 1 of 2: 'transformer' gave what is no number; try --dtype fp32"),
        ("vae", 0.0, "after step 2 of 2: 'vae' gave a video of one flat colour"),
        ("vae", float("nan"), "after step 2 of 2: 'vae' gave what is no number"),
    ):
        weights = copy / part / "diffusion_pytorch_model.safetensors"
        state = load_file(weights)
        save_file({name: torch.full_like(one, value) for name, one in state.items()}, weights, {"format": "pt"})
        assert said in shell.refused(*typed(copy, "--force"))
        assert not Path("out.mp4").exists()
        save_file(state, weights, {"format": "pt"})
    shell.done(*typed(copy, "--force"))


def test_what_an_interrupted_or_damaged_download_leaves_is_named(shell: Shell, copy: Path) -> None:
    weights = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    said = shell.refused(*typed(copy))
    assert f"'{weights}' is damaged: it has {len(content) // 2:,} bytes and should have {len(content):,}" in said
    (copy / "transformer" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(content)
    weights.unlink()
    assert "diffusion_pytorch_model.fp16.safetensors' is no name that is read; rename it" in shell.refused(*typed(copy))
    (copy / "transformer" / "diffusion_pytorch_model.fp16.safetensors").unlink()
    said = shell.refused(*typed(copy))
    assert "transformer' has no weights as safetensors: the download was interrupted; fetch" in said
    (copy / "transformer" / "diffusion_pytorch_model.bin").write_bytes(b"")
    assert "only as pickles, which can run programs" in shell.refused(*typed(copy))
    weights.write_bytes(content)
    settings = copy / "transformer" / "config.json"
    told = settings.read_text()
    settings.write_text(told[:50])
    assert "cannot be loaded" in shell.refused(*typed(copy))
    settings.write_text(told)
    (copy / "tokenizer" / "tokenizer_config.json").write_text("{")
    assert "cannot be loaded" in shell.refused(*typed(copy))
    shutil.rmtree(copy / "scheduler")
    assert "scheduler' is missing: the download was interrupted" in shell.refused(*typed(copy))
    assert not Path("out.mp4").exists()


def test_what_is_printed_to_be_typed_can_be_typed(shell: Shell, copy: Path) -> None:
    shell.done(*typed(copy, out="my fox.mp4"))
    said = shell.refused("generate", "--like", "my fox.mp4", "--out", "again.mp4")
    words = shlex.split(said.partition(": add ")[2])
    shell.done("generate", "--like", "my fox.mp4", "--out", "again.mp4", *words)
    assert "must be followed by a folder or the id" in shell.refused("generate", "a fox", "--model", "hub:")


def test_without_a_network_both_ways_to_get_the_files_are_told(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    said = shell.refused("generate", "a fox", "--model", "hub:Wan-AI/Wan2.1-T2V-1.3B-Diffusers")
    assert "'hf download Wan-AI/Wan2.1-T2V-1.3B-Diffusers'" in said
    assert "--local-dir DIR', copy DIR here and give --model hub:DIR" in said


def test_a_file_made_in_another_way_says_why_this_video_is_another(shell: Shell, folder_of: Folder) -> None:
    folder = folder_of("latte")
    few = ("--num-frames", "4", "--size", "32x32", "--steps", "1")
    shell.done("generate", "a star", "--model", f"hub:{folder}", *few, "--dtype", "bf16")
    said = shell.done("generate", "--model", f"hub:{folder}", "--like", "out.mp4", "--out", "again.mp4")
    assert "note: 'out.mp4' was made with dtype bf16, and this is with fp32: the video is another" in said


def test_a_checkpoint_is_evaluated_like_a_model_of_ours(shell: Shell, folder_of: Folder) -> None:
    model = ("--model", f"hub:{folder_of('wan')}")
    said = shell.done("evaluate", "toyland", *model, "--num", "1", "--steps", "1", "--batch", "1", "--out", "a.json")
    assert str(folder_of("wan")) in Path("a.json").read_text()
    assert "all" in said
    if not torch.cuda.is_available():
        said = shell.refused("evaluate", "toyland", *model, "--num", "1", "--offload", "model")
        assert "there is no GPU; leave it out" in said


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there is no terminal to type in")
def test_progress_is_seen_with_the_time_left_and_ctrl_c_in_a_terminal_stops_it(
    folder_of: Folder, tmp_path: Path
) -> None:
    ours, theirs = os.openpty()
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); " \
        "from vitascope.cli import main; main()"  # the background may have told it to ignore Ctrl-C  # fmt: skip
    words = ("generate", "a red circle", "--model", f"hub:{folder_of('ltx')}", "--num-frames", "9", "--size", "32x32")
    running = subprocess.Popen(
        [sys.executable, "-c", program, *words, "--steps", "9999", "--out", str(tmp_path / "out.mp4")],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    seen, begun, asked = "", time.monotonic(), 0.0
    try:
        while time.monotonic() - begun < 900:
            if select.select([ours], [], [], 1)[0]:
                try:
                    seen += os.read(ours, 65536).decode(errors="replace")
                except OSError:
                    break  # it has ended
            if not asked and re.search(r"out\.mp4.*?%.*?\d:\d\d:\d\d", seen):
                running.send_signal(signal.SIGINT)
                asked = time.monotonic()
        assert running.wait(60) == 130, seen[-2000:]
    finally:
        running.kill()
        os.close(ours)
    assert seen.rstrip().endswith("stopped")
    assert "Traceback" not in seen
    assert not list(tmp_path.iterdir())
