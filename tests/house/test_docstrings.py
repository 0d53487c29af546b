"""Every example in a docstring runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import segnosis

MODULES = sorted(
    info.name for info in pkgutil.walk_packages(segnosis.__path__, "segnosis.") if not info.name.endswith("__main__")
)


@pytest.mark.one_backend
@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert failed == 0
