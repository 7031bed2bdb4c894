"""Models of transformers in folders of the user's, which answer in this process what a server would be asked.

What sees pictures is a vision-language model; what reads text alone, such as the summariser of frames, may be a plain
language model too. Both choose the likeliest word, so that the same question has the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from vitascope.device import usual_device
from vitascope.endpoint import Judge, Picture, Unanswered
from vitascope.errors import UserError, first_line, install
from vitascope.evaluate.judges.asking import LocalJudge, identity


@lru_cache(4)
def local_model(folder: Path, max_tokens: int) -> Judge:
    """Loaded once, onto a GPU if there is one."""
    device = usual_device()
    try:
        from transformers import AutoConfig
        from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as LANGUAGE
    except ImportError:
        raise UserError(f"a model in a folder needs transformers: {install('hub')}") from None
    try:
        kind = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
    except (OSError, ValueError) as error:
        raise UserError(f"'{folder}' holds no model of transformers: {first_line(error)}") from None
    sees = (folder / "processor_config.json").exists() or (folder / "preprocessor_config.json").exists()
    if not sees and kind in LANGUAGE:
        return LanguageModel(folder, device, max_tokens)
    return LocalJudge(folder, device, max_tokens)


class LanguageModel:
    """A causal language model with a chat template; it is shown no pictures."""

    def __init__(self, folder: Path, device: str, max_tokens: int) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).to(device).eval()
        except (OSError, ValueError) as error:
            raise UserError(f"'{folder}' holds no language model of transformers: {first_line(error)}") from None
        if not self.tokenizer.chat_template:
            raise UserError(f"'{folder}' has no chat template: give a model that was tuned to follow instructions")
        self.folder, self.name = folder, f"{identity(folder)} (transformers, greedy)"
        self.device, self.max_tokens = device, max_tokens

    def answer(self, pictures: Sequence[Picture], dialogue: Sequence[str], seed: int) -> str:
        """Greedy, so that `seed` changes nothing."""
        if pictures:
            raise UserError(f"'{self.folder}' reads text alone and was shown a picture; give a vision-language model")
        chat = [{"role": ("user", "assistant")[index % 2], "content": text} for index, text in enumerate(dialogue)]
        given = self.tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        ).to(self.device)
        made = self.model.generate(**given, max_new_tokens=self.max_tokens, do_sample=False)
        text = str(self.tokenizer.decode(made[0, given["input_ids"].shape[1] :], skip_special_tokens=True)).strip()
        if not text:
            raise Unanswered("an empty answer")
        return text
