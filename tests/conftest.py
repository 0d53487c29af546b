"""What every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("MPLBACKEND", "Agg")
# JAX compiles thousands of tiny programs here, each of which runs once: a quarter of its time was optimizing them.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")
if "PYTEST_XDIST_WORKER" in os.environ:  # as many workers as cores: threads of each would wait for the others'
    os.environ.setdefault("OMP_NUM_THREADS", "1")

_REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data beside the checkout; tests that need it skip where it is absent."""
    if not _REAL_DATA.is_dir():
        pytest.skip(f"real data is not beside the checkout ({_REAL_DATA.name} folder missing)")
    return _REAL_DATA


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write the golden text anew instead of comparing it")
