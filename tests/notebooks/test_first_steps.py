"""The notebook runs from its first cell to its last, in this interpreter, and is committed without outputs."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "first_steps.ipynb"


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.fixture
def kernel_of_this_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A kernel specification that starts ``sys.executable``, whatever others are installed; its name."""
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    folder = tmp_path / "jupyter" / "kernels" / "memcap_tests"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "tests", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))  # the user's start-up files stay out
    return "memcap_tests"


def executed(kernel: str, folder: Path) -> Any:
    """The notebook with its outputs, run in ``folder``; raises the error of a cell."""
    nbclient = pytest.importorskip("nbclient", reason="pip install 'memcap[test]'")
    nbformat = pytest.importorskip("nbformat", reason="pip install 'memcap[test]'")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, kernel_name=kernel, resources=resources, timeout=120).execute()
    return notebook


def test_it_runs(kernel_of_this_interpreter: str, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    notebook = executed(kernel_of_this_interpreter, here)
    outputs = [output for cell in code_cells(notebook) for output in cell["outputs"]]
    assert [output["text"] for output in outputs if output.get("name") == "stderr"] == []
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    # Runs and studies are all that it leaves behind, and the sweep did not train the first run again.
    assert [path.name for path in here.iterdir()] == ["outputs"]
    assert len(list((here / "outputs" / "runs").glob("*/*/result.json"))) == 12
    text = "".join(output.get("text", "") for output in outputs)
    assert "11 finished, 1 skipped" in text
    progress = [o["data"]["text/plain"] for o in outputs if "member-steps/s" in o.get("data", {}).get("text/plain", "")]
    assert len(progress) == 2  # one output a training, replaced in place
    assert "100%" in progress[0]


def test_it_is_committed_without_outputs_and_defines_nothing() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    for cell in code_cells(notebook):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        tree = ast.parse("".join(cell["source"]))
        assert not any(isinstance(n, ast.FunctionDef | ast.ClassDef | ast.Lambda) for n in ast.walk(tree))
