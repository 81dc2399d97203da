"""What a run records about its machine."""

import platform

import pytest
import torch

from lada import environment


@pytest.mark.parametrize(
    ("info", "mkl", "processor", "instructions"),
    [
        (
            "processor\t: 0\nmodel name\t: Some Core: 9\nflags\t: fpu\nmodel name\t: other\n",
            None,
            "Some Core: 9",
            "AVX2",
        ),
        ("model name\t: Some Core\n", "COMPATIBLE", "Some Core", "AVX2, MKL_CBWR=COMPATIBLE"),
        ("Hardware\t: a board\n", None, "arm", "AVX2"),
        (None, None, "arm", "AVX2"),
    ],
)
def test_the_processor_by_name_and_instructions(monkeypatch, tmp_path, info, mkl, processor, instructions):
    file = tmp_path / "cpuinfo"
    if info is not None:
        file.write_text(info)
    monkeypatch.setattr(environment, "CPU_INFO", file)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "arm")
    monkeypatch.delenv("MKL_CBWR", raising=False)
    if mkl is not None:
        monkeypatch.setenv("MKL_CBWR", mkl)
    found = environment.environment("cpu")
    assert (found.processor, found.instructions) == (processor, instructions)
