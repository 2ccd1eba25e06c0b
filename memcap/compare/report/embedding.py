"""Values, scripts and styles inside an HTML page: nothing that a record holds can become code."""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.util
import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from memcap.errors import BadInput

DIGITS = 6
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # what no HTML page may hold


def text(value: Any) -> str:
    """A value as text of an element or an attribute."""
    return html.escape(CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(value)), quote=True)


def chart_text(value: Any) -> str:
    """A value as text of a chart, whose library reads a few tags (``<a href>``) out of strings."""
    return html.escape(CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(value)), quote=False)


def script_json(value: Any) -> str:
    """JSON for the inside of a script element: no ``</script>``, no ``<!--``, no NaN, ASCII only."""
    written = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def rounded(value: Any, digits: int = DIGITS) -> Any:
    """A number as it is drawn, to six digits; None for NaN, infinity and what is absent."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else float(f"{number:.{digits}g}")


def numbers(values: Iterable[Any], digits: int = DIGITS) -> list[Any]:
    """``rounded`` of each."""
    return [rounded(value, digits) for value in values]


def own_file(name: str) -> str:
    """A script or style sheet of this package."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def plotly_script() -> str:
    """The charting library as the plotly package brings it, 4.8 MB; the package itself is not imported.

    Raises BadInput where it is not installed.
    """
    found = importlib.util.find_spec("plotly")
    if found is None or not found.submodule_search_locations:
        raise BadInput("report.html needs plotly: pip install plotly, or report=0 to leave the page out")
    folder = Path(next(iter(found.submodule_search_locations)))
    return (folder / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def inline_script(source: str) -> str:
    """A script element; it must not hold what ends one."""
    if re.search(r"</script|<!--", source, re.IGNORECASE):
        source = re.sub(r"<(/script|!--)", r"\\x3c\1", source, flags=re.IGNORECASE)
    return f"<script>{source}</script>"


def content_policy(scripts: Sequence[str]) -> str:
    """A content security policy: these script elements run and no others, and nothing is loaded from anywhere."""
    hashes = []
    for element in scripts:
        source = element.removeprefix("<script>").removesuffix("</script>")
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        hashes.append(f"'sha256-{digest}'")
    return (
        f"default-src 'none'; script-src {' '.join(hashes)}; style-src 'unsafe-inline'; img-src data: blob:;"
        " base-uri 'none'; form-action 'none'"
    )
