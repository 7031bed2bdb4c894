"""Tiny random models that chat, of the families that users bring; their words are few."""

from pathlib import Path
from typing import Any

import torch
import transformers as tf

WORDS = "<pad> <unk> </s> <image> user assistant : yes no is it ?".split()
CHAT = (
    "{% for m in messages %}{{ m['role'] }} : {% for c in m['content'] %}{% if c['type'] == 'image' %}<image> "
    "{% else %}{{ c['text'] }} {% endif %}{% endfor %}{% endfor %}assistant :"
)
TEXT_CHAT = "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} {% endfor %}assistant :"
SMALL = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2}


def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>", eos_token="</s>",
        additional_special_tokens=["<image>"],
    )  # fmt: skip


def mouth() -> Any:
    return tf.LlamaConfig(
        **SMALL, num_hidden_layers=1, vocab_size=len(WORDS), bos_token_id=None, eos_token_id=2, pad_token_id=0
    )


def speaking(network: Any, folder: Path) -> Path:
    torch.nn.init.zeros_(network.lm_head.weight[:4])  # so that it speaks words
    network.save_pretrained(folder)
    return folder


def tiny_llava(folder: Path) -> Path:
    """It is shown pictures."""
    pictures = tf.CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    tf.LlavaProcessor(
        pictures, tokenizer(), patch_size=8, vision_feature_select_strategy="default", chat_template=CHAT,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)  # fmt: skip
    eyes = tf.CLIPVisionConfig(**SMALL, num_hidden_layers=2, image_size=16, patch_size=8)
    network = tf.LlavaForConditionalGeneration(
        tf.LlavaConfig(vision_config=eyes, text_config=mouth(), image_token_id=3)
    )
    return speaking(network, folder)


def tiny_llama(folder: Path) -> Path:
    """It reads words alone."""
    words = tokenizer()
    words.chat_template = TEXT_CHAT
    words.save_pretrained(folder)
    return speaking(tf.LlamaForCausalLM(mouth()), folder)
