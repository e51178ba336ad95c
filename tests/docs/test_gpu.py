"""The code in docs/gpu.md runs on a driver that is none."""

from unittest.mock import patch

from tests.runtime.cuda.conftest import device, fake, interpreter  # noqa: F401

from .blocks import run_blocks


def test_python_blocks_run(device, capsys):  # noqa: F811
    with patch("tracejit.runtime.cuda.device.cuda_device", lambda ordinal: device):
        assert run_blocks("gpu.md") >= 4
    said = capsys.readouterr().out
    assert said.startswith("0.01\n")
    assert "index 7 is out of bounds for axis 0 with size 3" in said
