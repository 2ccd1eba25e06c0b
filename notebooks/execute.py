"""Runs the notebooks of findings from top to bottom and keeps their outputs, so that running them again changes little.

    OMP_NUM_THREADS=1 python notebooks/execute.py [memory2_width ...]      # none: all; some minutes of training each

Each runs in a fresh kernel of this interpreter, in this folder, at MEMCAP_SIZE (paper). What has been trained before
(``outputs`` beside the notebooks) is not trained again. What a sweep prints, times and folders, is left out. Each
notebook keeps the hash of the code that made its outputs, so a cell that was changed since is found.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent
WITHOUT_OUTPUTS = "first_steps"
KERNEL = "memcap_notebooks"
TIMEOUT_S = 3600
COLORS = 128


def findings() -> list[Path]:
    """The notebooks whose outputs are kept."""
    return sorted(path for path in HERE.glob("*.ipynb") if path.stem != WITHOUT_OUTPUTS)


def install_kernel(folder: Path) -> dict[str, str]:
    """Writes the specification of a kernel that is this interpreter; the variables by which Jupyter finds it.

    Whatever kernels and start-up files the user has stay out.
    """
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = folder / "jupyter" / "kernels" / KERNEL
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(
        json.dumps({"argv": command, "display_name": KERNEL, "language": "python"}), encoding="utf-8"
    )
    return {"JUPYTER_PATH": str(folder / "jupyter"), "IPYTHONDIR": str(folder / "ipython")}


def cleaned(notebook: Any, size: str) -> Any:
    """The executed notebook with what says something about its numbers, and nothing about this machine or this hour."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "memcap": {"size": size, "code_sha256": code_sha256(notebook)},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _is_progress(output)]
            for output in cell.outputs:
                output.pop("transient", None)
                output.metadata = {}
                if "image/png" in output.get("data", {}):
                    output.data["image/png"] = _smaller(output.data["image/png"])
    return notebook


def code_sha256(notebook: Any) -> str:
    """The SHA-256 of the sources of its code cells, in hexadecimal digits."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def _smaller(png: str) -> str:
    """The same picture with a palette of 128 colours, a third as large: lines and letters lose nothing that is seen."""
    packed = io.BytesIO()
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    picture.quantize(COLORS, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return base64.b64encode(packed.getvalue()).decode("ascii")


def _is_progress(output: Any) -> bool:
    """What a sweep shows while it trains, and the table and the places that it prints; a warning is not."""
    text = output.get("data", {}).get("text/plain", "")
    return output.get("name") == "stdout" or "member-steps/s" in text


def main(names: Sequence[str]) -> None:
    """Executes the notebooks of these names, or all."""
    size = os.environ.setdefault("MEMCAP_SIZE", "paper")
    paths = [HERE / f"{name}.ipynb" for name in names] or findings()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= install_kernel(Path(folder))
        for path in paths:
            notebook = nbformat.read(path, as_version=4)
            resources = {"metadata": {"path": str(HERE)}}
            NotebookClient(notebook, kernel_name=KERNEL, resources=resources, timeout=TIMEOUT_S).execute()
            text: str = nbformat.writes(cleaned(notebook, size))
            path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
            print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
