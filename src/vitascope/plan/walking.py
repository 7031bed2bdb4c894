"""Walking through real code with tensors that have shapes and no numbers, counting what is alive and what is computed.

Everything runs on fake CPU tensors, whose kernels allocate nothing. What a GPU does otherwise is said in `Kernels`.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten


class Walk(TorchDispatchMode):
    """FLOPs of matrix products, attention and convolutions, two for each multiply-add; bytes of all tensors made inside
    that are still alive; and the most of them there ever were.

    Questions for numbers, which fake tensors cannot answer, are answered so that a step takes its usual way: numbers
    are one, tests fail, and of a mask over so many tokens `visible` tells how many are true in each row.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.alive = self.most = 0
        self.visible: dict[int, int] = {}
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.prim.device.default:
            return args[0].fake_device  # half of all calls
        if func is aten._local_scalar_dense.default:
            kind = args[0].dtype
            return False if kind == torch.bool else 1.0 if kind.is_floating_point else 1
        if func is aten.nonzero.default:
            return torch.empty(len(args[0]) * self.visible[args[0].shape[1]], args[0].ndim, dtype=torch.int64)
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            self.flops += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=result)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._meet(leaf.untyped_storage())
        return result

    def _meet(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        self.alive += storage.nbytes()
        self.most = max(self.most, self.alive)
        weakref.finalize(storage, self._forget, key).atexit = False

    def _forget(self, key: int) -> None:
        self.alive -= self._sizes.pop(key)

    def forget_peak(self) -> None:
        """Count the most from here on."""
        self.most = self.alive


class Kernels(TorchFunctionMode):
    """What other kernels do than those that fake CPU tensors would choose.

    Attention is fused: it keeps queries, keys, values and its output, never the weights. A GPU uses it at all lengths,
    and under autocast norms in fp32.
    """

    def __init__(self, is_gpu: bool) -> None:
        super().__init__()
        self.is_gpu = is_gpu

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.nn.functional.scaled_dot_product_attention:
            q, k, v = (one.reshape(-1, *one.shape[-3:]) for one in args[:3])  # the formulas know one batch axis
            mixed = aten._scaled_dot_product_efficient_attention(q, k, v, None, True)[0]
            return mixed.reshape(*args[0].shape[:-1], v.shape[-1])
        if self.is_gpu and func == torch.Tensor.is_cuda.__get__:  # type: ignore[attr-defined]  # a property to the stub
            return True
        if self.is_gpu and func is torch.nn.functional.layer_norm:
            with torch.autocast("cpu", enabled=False):
                return func(args[0].float(), *args[1:], **kwargs)
        return func(*args, **kwargs)


@contextmanager
def walking(is_gpu: bool) -> Iterator[Walk]:
    """Tensors made inside have no numbers and take no memory; what they would take is counted."""
    with FakeTensorMode(), Walk() as walk, Kernels(is_gpu):
        yield walk


def size_of(tensors: Iterable[Tensor | None]) -> int:
    """Bytes of tensors, each storage once."""
    storages = {one.untyped_storage()._cdata: one.untyped_storage().nbytes() for one in tensors if one is not None}
    return sum(storages.values())
