"""The guided notebooks in the forms that a course needs: with solutions for the teacher, without for the learners.

The sources are text (jupytext's percent format). A cell marked ``exercise="name"`` holds a solution between ``### BEGIN SOLUTION`` and
``### END SOLUTION``; one marked ``check="name"`` holds its check, and what only the teacher's version asserts between
``### BEGIN HIDDEN TESTS`` and ``### END HIDDEN TESTS``. The marks become nbgrader's metadata. Cutting follows nbgrader's own rules, so
that its ``generate_assignment`` gives the same; nbgrader itself is not needed to write or to run anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbformat import NotebookNode

SCHEMA = 3  # of nbgrader's metadata
POINTS = 1
STUB = ("# YOUR CODE HERE", "raise NotImplementedError()")
CONFIG = '''"""nbgrader's configuration of the course; its commands are run in this folder."""

c = get_config()  # noqa: F821  # nbgrader puts it here
c.CourseDirectory.course_id = "seerlab"
c.CourseDirectory.db_url = "sqlite:///gradebook.db"
c.ExecutePreprocessor.timeout = 300
'''


def notebook_folder() -> Path:
    """Folder of the guided notebooks: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "notebooks"
    return installed if installed.is_dir() else package.parent / "notebooks"


def sources() -> list[Path]:
    """The text form of every notebook, in their order."""
    return sorted((notebook_folder() / "source").glob("*.py"))


def assignment(source: Path) -> NotebookNode:
    """A notebook with its solutions and all tests, as nbgrader's ``source`` folder holds it.

    Raises
    ------
    ImportError
        If jupytext is not installed.
    ValueError
        For a solution without an exercise or without a check, or marks that do not pair.
    """
    jupytext = _jupytext()
    notebook: NotebookNode = jupytext.read(source)
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    marked: dict[str, set[str]] = {"exercise": set(), "check": set()}
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02}"  # jupytext invents others each time
        for mark, names in marked.items():
            name = cell.metadata.pop(mark, None)
            if name is not None:
                names.add(name)
                cell["id"] = f"{mark}-{name}".replace("_", "-")
                cell.metadata["nbgrader"] = _metadata(name, graded=mark == "check")
        solved = cell.cell_type == "code" and any("BEGIN SOLUTION" in line for line in cell.source.splitlines())
        if solved != bool(cell.metadata.get("nbgrader", {}).get("solution")):
            raise ValueError(
                f"{source.name}: a solution belongs into a cell marked exercise=..., and only there:\n{cell.source}"
            )
    if marked["exercise"] != marked["check"]:
        odd = ", ".join(sorted(marked["exercise"] ^ marked["check"]))
        raise ValueError(f"{source.name}: {odd} has an exercise without a check, or a check without an exercise")
    return notebook


def release(source: Path) -> NotebookNode:
    """A notebook as a learner gets it: solutions replaced by a line to write there, hidden tests cut out."""
    notebook = assignment(source)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            lines = list(_cut(cell.source.splitlines(), "SOLUTION", STUB))
            cell.source = "\n".join(_cut(lines, "HIDDEN TESTS", ())).rstrip()
    return notebook


def write_release(folder: Path) -> list[Path]:
    """Write every notebook without solutions.

    Returns
    -------
    list of Path
    """
    return [_write(release(source), folder / f"{source.stem}.ipynb") for source in sources()]


def write_course(folder: Path) -> list[Path]:
    """Write a folder for nbgrader: ``source`` with the solutions, ``release`` without, and its configuration.

    Returns
    -------
    list of Path
    """
    written = []
    for source in sources():
        for version, make in (("source", assignment), ("release", release)):
            written.append(_write(make(source), folder / version / source.stem / f"{source.stem}.ipynb"))
    config = folder / "nbgrader_config.py"
    config.write_text(CONFIG, encoding="utf-8")
    return [*written, config]


def _metadata(name: str, *, graded: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "grade": graded,
        "grade_id": f"check-{name}" if graded else name,
        "locked": graded,
        "schema_version": SCHEMA,
        "solution": not graded,
        "task": False,
    }
    return {**found, "points": POINTS} if graded else found


def _cut(lines: list[str], what: str, stub: tuple[str, ...]) -> Iterator[str]:
    """Lines without what lies between two marks, the marks included; `stub` goes where the first was."""
    inside = False
    for line in lines:
        if f"BEGIN {what}" in line:
            if inside:
                raise ValueError(f"BEGIN {what} twice, without END {what} between")
            inside = True
            indent = re.match(r"\s*", line)
            yield from (f"{indent.group() if indent else ''}{one}" for one in stub)
        elif f"END {what}" in line:
            if not inside:
                raise ValueError(f"END {what} without BEGIN {what}")
            inside = False
        elif not inside:
            yield line
    if inside:
        raise ValueError(f"BEGIN {what} without END {what}")


def _write(notebook: NotebookNode, path: Path) -> Path:
    import nbformat

    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.validate(notebook)
    nbformat.write(notebook, path, version=4)  # type: ignore[no-untyped-call]
    return path


def _jupytext() -> Any:
    try:
        import jupytext
    except ImportError:
        raise ImportError("the course is made from text by jupytext; run: pip install 'seerlab[course]'") from None
    return jupytext
