"""Each finding's notebook runs at its smallest size; the committed outputs are those of the published grid."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
DOCS = Path(__file__).parents[2] / "docs"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb") if path.stem != "first_steps")
LARGEST_BYTES, ALL_BYTES = 250_000, 1_500_000
# Paths from the root, of a home or of a drive, wherever they stand in an output.
MACHINE_PATH = re.compile(r"(?<![\w.:/<])/(?:home|root|tmp|usr|Users|opt|mnt|work|var)/|[A-Z]:\\\\")


def committed(name: str) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))
    return notebook


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def code_sha256(notebook: Any) -> str:
    sources = ["".join(cell["source"]) for cell in code_cells(notebook)]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def figures(notebook: Any) -> int:
    return sum("image/png" in o.get("data", {}) for cell in code_cells(notebook) for o in cell["outputs"])


@pytest.fixture(scope="module")
def execute() -> ModuleType:
    """``notebooks/execute.py``, by which the committed outputs were made."""
    pytest.importorskip("nbclient", reason="pip install 'memcap[test]'")
    spec = importlib.util.spec_from_file_location("execute", NOTEBOOKS / "execute.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kernel(execute: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One kernel for all notebooks, since most of their time is that of its imports; each begins with no names."""
    from jupyter_client.manager import KernelManager

    folder = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**execute.install_kernel(folder), "MEMCAP_SIZE": "smoke"}.items():
            patch.setenv(key, value)
        manager = KernelManager(kernel_name=execute.KERNEL)
        manager.start_kernel(cwd=str(folder))
        try:
            yield manager
        finally:
            manager.shutdown_kernel(now=True)


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_at_its_smallest_size(name: str, execute: ModuleType, kernel: Any) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell("%reset -f"))
    client = NotebookClient(notebook, km=kernel, timeout=120)
    try:
        client.execute(cleanup_kc=False)
    finally:
        if client.kc is not None:
            client.kc.stop_channels()
    outputs = [output for cell in code_cells(notebook) for output in cell["outputs"]]
    assert [output["text"] for output in outputs if output.get("name") == "stderr"] == []
    assert figures(notebook) == figures(committed(name))
    del notebook.cells[0]
    made_by = {"size": "smoke", "code_sha256": code_sha256(committed(name))}
    assert execute.cleaned(notebook, "smoke").metadata["memcap"] == made_by
    assert not any("member-steps/s" in json.dumps(cell["outputs"]) for cell in code_cells(notebook))


@pytest.mark.parametrize("name", NAMES)
def test_it_calls_memcap_and_defines_nothing(name: str) -> None:
    cells = code_cells(committed(name))
    assert 5 <= len(committed(name)["cells"]) <= 12
    trees = [ast.parse("".join(cell["source"])) for cell in cells]
    for tree in trees:
        assert not any(isinstance(n, ast.FunctionDef | ast.ClassDef | ast.Lambda) for n in ast.walk(tree))
    assert "memcap.sweep(" in "".join("".join(cell["source"]) for cell in cells)


@pytest.mark.parametrize("name", NAMES)
def test_its_outputs_are_those_of_the_published_grid_and_of_no_machine(name: str) -> None:
    notebook = committed(name)
    made_by = notebook["metadata"].pop("memcap")
    assert made_by["size"] == "paper"
    again = f"code has changed since: python notebooks/execute.py {name}"
    assert made_by["code_sha256"] == code_sha256(notebook), again
    assert notebook["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), "not top to bottom"
    assert all(cell["metadata"] == {} for cell in notebook["cells"])
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"display_data", "execute_result"}
    assert figures(notebook) >= 1
    assert any("text/html" in output["data"] for output in outputs), "no table"
    said = [{k: v for k, v in output["data"].items() if k != "image/png"} for output in outputs]
    assert MACHINE_PATH.search(json.dumps(said, ensure_ascii=False)) is None
    assert "Warning" not in json.dumps(said)
    assert notebook["cells"][-1]["cell_type"] == "markdown", "what is seen stands at the end"


def test_a_machine_path_is_found() -> None:
    assert MACHINE_PATH.search("in /home/somebody/outputs") is not None
    assert MACHINE_PATH.search("<td>bits/parameter</td> and outputs/runs/usr/") is None


def test_they_are_small() -> None:
    sizes = {name: (NOTEBOOKS / f"{name}.ipynb").stat().st_size for name in NAMES}
    assert max(sizes.values()) < LARGEST_BYTES, sizes
    assert sum(sizes.values()) < ALL_BYTES


def test_the_findings_name_every_notebook() -> None:
    page = (DOCS / "FINDINGS.md").read_text(encoding="utf-8")
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    for name in NAMES:
        assert f"../notebooks/{name}.ipynb" in page, name
        assert name in readme, name
