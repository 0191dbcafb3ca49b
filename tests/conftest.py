"""What every test needs: no network, one thread a worker, and one browser for all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Triton asks when it is imported, which PyTorch may do before any kernel of ours.
os.environ.setdefault("TRITON_INTERPRET", "1")
# What fails in there shall say what it saw.
pytest.register_assert_rewrite("tests.hub")
# How long an example takes is the machine's matter.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture
def seeded() -> None:
    """The same random numbers for each test of a paper."""
    # The builder's tests run where there is no PyTorch.
    import torch

    torch.manual_seed(0)


@pytest.fixture
def doubled(seeded: None) -> Iterator[None]:
    """And in double precision, where a library is followed to its last digits."""
    import torch

    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium where there is one, else Playwright's own."""
    # A process can have one Playwright only, whichever tests it happens to run.
    from playwright.sync_api import expect, sync_playwright

    # How fast a page answers is the machine's matter too.
    expect.set_options(timeout=30_000)
    system = "/usr/bin/chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=system if os.path.exists(system) else None,
            args=["--no-sandbox", "--disable-background-networking"],
        )
        yield browser
        browser.close()
