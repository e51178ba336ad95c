"""The code in docs/gpu.md runs, as one session, on a driver that is none."""

import re
from pathlib import Path
from unittest.mock import patch

from tests.runtime.cuda.conftest import device, fake, interpreter  # noqa: F401

PAGE = Path(__file__).parents[2] / "docs" / "gpu.md"
PYTHON = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def test_python_blocks_run(device, capsys):  # noqa: F811
    assert len(PYTHON) >= 4
    scope: dict[str, object] = {"__name__": "gpu"}
    with patch("tracejit.devices.cuda_device", lambda ordinal: device):
        for block in PYTHON:
            exec(compile(block, str(PAGE), "exec"), scope)
    said = capsys.readouterr().out
    assert said.startswith("0.01\n")
    assert "index 7 is out of bounds for axis 0 with size 3" in said
