"""What all tests share: no screen, no internet, the same random examples in every run."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

os.environ.setdefault("MPLBACKEND", "Agg")

# A loaded machine is slow without being wrong, and a failure must be there again in the next run.
settings.register_profile("course", deadline=None, derandomize=True)
settings.load_profile("course")


@pytest.fixture(scope="module")
def net():
    """The picture book's network, loaded anew for each file."""
    from cnnvis_helpers.networks import load_network

    return load_network("picturebook", device="cpu")


@pytest.fixture(scope="module")
def batch(net):
    """Two pages with a cat: a file that needs others has its own."""
    import torch

    from cnnvis_helpers.picturebook import draw_scene

    return torch.cat([net.tensor(draw_scene(seed, "cat").image) for seed in (1, 2)])


@pytest.fixture(autouse=True)
def no_internet(monkeypatch):
    """Fail a test that reaches beyond this machine: the course must work offline."""
    connect = socket.socket.connect

    def connect_here(self, address):
        host = address[0] if isinstance(address, tuple) else ""
        if host and host not in ("localhost", "::1") and not host.startswith("127."):
            raise OSError(f"a test tried to reach {host}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_here)


def pytest_terminal_summary(terminalreporter):
    """After running lessons, say whether their sections on a real network ran too."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    if not any(".ipynb::" in getattr(report, "nodeid", "") for report in reports):
        return
    from cnnvis_helpers.networks import load_network

    scripts = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))
    wild = [s for s in scripts if 'missing="skip"' in s.read_text(encoding="utf-8")]
    if load_network("squeezenet1_0", missing="skip", device="cpu") is not None:
        says = "ran on a real ImageNet network"
    else:
        says = "SKIPPED: no weights (CNNVIS_WEIGHTS names a folder that has them)"
    lessons = f"{len(wild)} of {len(scripts)} lessons"
    terminalreporter.write_sep("-", f'"In the wild" in {lessons} {says}')
