"""Before any test imports the package: shapes and types of every annotated function are checked while it runs."""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several test processes share the cores

import jaxtyping
import pytest

assert "vitascope" not in sys.modules, "the package came before the hook that checks its annotations"
jaxtyping.install_import_hook("vitascope", "beartype.beartype")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Sums come out the same on every machine, and parallel test processes do not fight for cores."""
    import torch

    torch.set_num_threads(1)
