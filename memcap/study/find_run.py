"""From what a person types to the folder of one run."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from memcap.errors import BadInput
from memcap.records.run_folder import RunFolder

SHORTEST_PREFIX = 4  # hex digits: enough to be meant, and unique among a few hundred runs
MOST_NAMED = 4


def find_run(run: str | Path, outputs: str | Path = "outputs") -> RunFolder:
    """The folder of the run whose id is ``run`` or begins with it (four digits at least).

    The path of a run's folder, as the closing table prints it, is understood too. Raises BadInput for an id that no run
    or more than one has.
    """
    text = str(run)
    if "/" in text:
        path = Path(text)
        path = path.parent if path.is_file() else path
        if len(path.parts) >= 3 and path.parts[-3] == "runs":
            text, outputs = path.name, path.parents[2]
    root = Path(outputs) / "runs"
    prefix = text.strip().lower()
    if len(prefix) < SHORTEST_PREFIX or not re.fullmatch(r"[0-9a-f]+", prefix):
        raise BadInput(
            f"a run id is 12 of the digits 0-9 a-f, of which the first {SHORTEST_PREFIX} may do, got {text!r};"
            f" {_where_ids_are(Path(outputs))}"
        )
    found = sorted(path.name for path in (root / prefix[:2]).glob(f"{prefix}*") if path.is_dir())
    if len(found) > 1 and prefix not in found:
        named = ", ".join(found[:MOST_NAMED]) + (", ..." if len(found) > MOST_NAMED else "")
        raise BadInput(f"{len(found)} runs in {root} begin with {text}: {named}; add a digit")
    if not found:
        raise BadInput(
            f"no run in {root} begins with {text}{_nearest(prefix, root)}; {_where_ids_are(Path(outputs))}"
        )
    return RunFolder(Path(outputs), prefix if prefix in found else found[0])


def _nearest(prefix: str, root: Path) -> str:
    """Ids that look alike: of a mistyped digit, mostly in the same folder; of a mistyped first one, anywhere."""
    for pattern in (f"{prefix[:2]}/*", "*/*"):
        ids = [path.name for path in root.glob(pattern)]
        by_start = {name[: len(prefix)]: name for name in ids}
        near = difflib.get_close_matches(prefix, by_start, n=2, cutoff=0.6)
        if near:
            return f" (did you mean {' or '.join(by_start[start] for start in near)}?)"
    return ""


def _where_ids_are(outputs: Path) -> str:
    if not (outputs / "runs").is_dir():
        return f"{outputs} has no runs: say where they are with paths.outputs=DIR"
    return f"{outputs}/studies/NAME/index.jsonl has the ids of a study"
