"""Less memory for more time: in the backward pass blocks make again what they had made in the forward pass."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

aten = torch.ops.aten

KEPT = [
    aten._scaled_dot_product_flash_attention.default,
    aten._scaled_dot_product_efficient_attention.default,
    aten._scaled_dot_product_cudnn_attention.default,
    aten._scaled_dot_product_flash_attention_for_cpu.default,
]
"""What fused attention gives is dear to make and small to keep (STIV, section 3.1, of self-attention)."""


def recomputing(blocks: Iterable[nn.Module]) -> None:
    """Let blocks keep what comes in and what attention gave, and make the rest again for their gradients.

    Their outputs and gradients stay the same; without gradients nothing changes.
    """
    contexts = partial(create_selective_checkpoint_contexts, KEPT)
    for block in blocks:
        # As an attribute of the instance: names of weights stay, and so do checkpoints and patterns over them.
        forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)
        block.forward = forward
