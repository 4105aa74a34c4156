"""The notebooks: made from their text, without solutions for learners, with solutions that pass for teachers."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import seerlab as sl
from seerlab import cli, course

SOURCES = course.sources()
by_source = pytest.mark.parametrize("source", SOURCES, ids=[source.stem for source in SOURCES])
# A figure in a text is either computed or quoted: a cell that has one says where it comes from, or asks for it.
FIGURE = re.compile(r"\d[\d.,]* ?(?:%|ms\b|times (?:faster|smaller|as))")
QUOTED = re.compile(
    r"abstract|paper|published|reported|reports|reading note|recalled|Predict|claim|share \*s\*|95 %|99 %",
    re.IGNORECASE,
)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def grade_id(cell):
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def test_the_course_is_numbered_and_every_exercise_has_its_place():
    assert [source.stem[:2] for source in SOURCES] == [f"{n:02}" for n in range(9)]
    placed = [
        grade_id(cell)
        for source in SOURCES
        for cell in code(course.assignment(source))
        if cell.metadata.get("nbgrader", {}).get("solution")
    ]
    assert sorted(placed) == sorted(sl.exercises.EXERCISES)


@by_source
def test_a_notebook_is_what_its_text_gives_and_holds_neither_solutions_nor_outputs(source):
    notebook = nbformat.read(source.parent.parent / f"{source.stem}.ipynb", as_version=4)
    made = course.release(source)
    assert [(c.cell_type, c.id, c.source, c.metadata) for c in notebook.cells] == [
        (c.cell_type, c.id, c.source, c.metadata) for c in made.cells
    ]
    for cell in code(notebook):
        assert not cell.outputs
        assert cell.execution_count is None
        assert "SOLUTION" not in cell.source
        assert "HIDDEN" not in cell.source


@by_source
def test_the_solutions_are_right(source):
    names = {"sl": sl, "torch": __import__("torch"), "F": __import__("torch").nn.functional}
    checks = 0
    for cell in code(course.assignment(source)):
        if "nbgrader" in cell.metadata:
            exec(cell.source, names)
            checks += cell.metadata.nbgrader.grade
    assert checks


@by_source
def test_a_learner_who_has_written_nothing_is_told_so_and_stopped_nowhere(source, capsys):
    names = {"sl": sl}
    checks = 0
    for cell in code(course.release(source)):
        if "nbgrader" in cell.metadata:
            exec(cell.source, names)
            if cell.metadata.nbgrader.grade:
                checks += 1
                assert not names["verdict"]
    assert capsys.readouterr().out.count("Not yet") == checks > 0


@by_source
def test_no_measured_figure_is_typed_into_a_text(source):
    for cell in course.assignment(source).cells:
        if cell.cell_type == "markdown":
            for paragraph in cell.source.split("\n\n"):
                assert not FIGURE.search(paragraph) or QUOTED.search(paragraph), paragraph


@by_source
def test_a_notebook_has_every_part_of_a_lesson(source):
    notebook = course.release(source)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for part in ("You will", "minutes", "**Predict:**", "urther questions"):
        assert part in text or (part == "**Predict:**" and "Before you run" in text), part
    assert int(re.search(r"\*\*About (\d+) minutes", text).group(1)) <= 20


def test_marks_that_do_not_pair_are_refused(tmp_path):
    for text, told in (
        ('# %% exercise="a"\n### BEGIN SOLUTION\n1\n### END SOLUTION\n', "a has an exercise without a check"),
        ("# %%\n### BEGIN SOLUTION\n1\n### END SOLUTION\n", "belongs into a cell marked"),
        ('# %% exercise="a"\n### BEGIN SOLUTION\n1\n\n# %% check="a"\n1\n', "BEGIN SOLUTION without END SOLUTION"),
    ):
        source = tmp_path / "odd.py"
        source.write_text(text)
        with pytest.raises(ValueError, match=told):
            course.release(source)


def test_the_command_writes_both_forms_or_the_learners_alone(tmp_path, capsys):
    assert cli.main(["course", str(tmp_path / "a")]) == 0
    assert len(list((tmp_path / "a" / "source").rglob("*.ipynb"))) == len(SOURCES)
    assert len(list((tmp_path / "a" / "release").rglob("*.ipynb"))) == len(SOURCES)
    assert (tmp_path / "a" / "nbgrader_config.py").is_file()
    assert cli.main(["course", "--release", str(tmp_path / "b")]) == 0
    assert [path.name for path in sorted((tmp_path / "b").glob("*"))] == [f"{source.stem}.ipynb" for source in SOURCES]
    assert f"written {len(SOURCES)} files" in capsys.readouterr().out


def test_the_command_without_jupytext_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jupytext", None)
    assert cli.main(["course", str(tmp_path)]) == 1
    assert "pip install 'seerlab[course]'" in capsys.readouterr().err


@pytest.fixture
def nbgrader(tmp_path):
    """Runs nbgrader's commands in a course folder; nbgrader may be installed elsewhere, in the folder SEERLAB_NBGRADER names."""
    elsewhere = os.environ.get("SEERLAB_NBGRADER")
    if elsewhere is None and importlib.util.find_spec("nbgrader") is None:
        pytest.skip("nbgrader is not installed, nor does SEERLAB_NBGRADER name a folder that holds it")
    course.write_course(tmp_path)
    for source in SOURCES[1:]:  # one is enough to show it
        for version in ("source", "release"):
            shutil.rmtree(tmp_path / version / source.stem)
    environment = dict(os.environ)
    if elsewhere:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (elsewhere, os.environ.get("PYTHONPATH"))))
        environment["PATH"] = os.pathsep.join((str(Path(elsewhere, "bin")), os.environ["PATH"]))  # it calls alembic

    def run(*words):
        done = subprocess.run(
            [sys.executable, "-m", "nbgrader", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done

    return tmp_path, run


def test_nbgrader_makes_the_same_release_and_grades_right_and_empty_answers(nbgrader):
    folder, run = nbgrader
    name = SOURCES[0].stem
    ours = nbformat.read(folder / "release" / name / f"{name}.ipynb", as_version=4)
    shutil.rmtree(folder / "release")
    run("generate_assignment", name)
    theirs = nbformat.read(folder / "release" / name / f"{name}.ipynb", as_version=4)
    assert [(c.cell_type, c.source.rstrip()) for c in theirs.cells] == [
        (c.cell_type, c.source.rstrip()) for c in ours.cells
    ]
    for student, version in (("solved", "source"), ("empty", "release")):
        handed_in = folder / "submitted" / student / name
        shutil.copytree(folder / version / name, handed_in)
    run("autograde", name)
    run("export", "--to", "grades.csv")
    lines = (folder / "grades.csv").read_text().splitlines()
    columns = lines[0].split(",")
    scores = {
        row["student_id"]: float(row["score"])
        for row in (dict(zip(columns, line.split(","), strict=True)) for line in lines[1:])
    }
    assert scores == {"solved": 1.0, "empty": 0.0}


def test_the_notebooks_folder_holds_nothing_else():
    folder = course.notebook_folder()
    assert {path.name for path in folder.glob("*.ipynb")} == {f"{source.stem}.ipynb" for source in SOURCES}
    assert Path(folder, "README.md").is_file()
