"""A figure outside pyplot is shown by IPython, also where nothing has imported pyplot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import memcap
from plot_cases import plotted_frame
assert "matplotlib.pyplot" not in sys.modules
figure = memcap.plot.figure(memcap.plot.sharpness, plotted_frame(), facet="model.width")
print(shell.display_formatter.format(figure)[0]["image/png"].startswith("iVBORw0KGgo"))  # PNG, in base 64
"""


def test_small_multiples_are_shown_without_pyplot(tmp_path: Path) -> None:
    pytest.importorskip("IPython", reason="pip install 'memcap[test]'")
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "IPYTHONDIR": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=where, check=False)
    assert (ran.stdout.strip(), ran.returncode) == ("True", 0), ran.stderr
