"""Before any test imports the package: shapes and types of every annotated function are checked while it runs."""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several test processes share the cores

import jaxtyping
import pytest

from forgetting import forget_files

assert "vitascope" not in sys.modules, "the package came before the hook that checks its annotations"
jaxtyping.install_import_hook("vitascope", "beartype.beartype")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Sums come out the same on every machine, and parallel test processes do not fight for cores."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def files_of_its_own(tmp_path_factory: pytest.TempPathFactory):
    """A file that a test wrote and imported is no other test's."""
    yield
    forget_files(tmp_path_factory.getbasetemp())
