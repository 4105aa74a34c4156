"""The page of what every check says to right and to wrong answers: the very answers that the tests try, checked while the site is built."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

HEAD = """# What the checks say

Every exercise of the notebooks with answers that are wrong in a usual way, and what its check tells the learner. Each was called while this
page was built, beside three right answers or more, written in different ways, which are accepted. The last wrong answer of an exercise is
wrong in no known way: the check names the place where it differs.
"""


def page() -> str:
    """Check every answer; the page's text."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    import seerlab as sl
    from tests.exercises import test_maps, test_networks, test_predictors, test_seernet

    modules = (test_seernet, test_maps, test_networks, test_predictors)
    parts = [HEAD]
    for name, exercise in sl.exercises.EXERCISES.items():
        right = [exercise.check(function) for m in modules for function in getattr(m, "RIGHT", {}).get(name, [])]
        if not all(right):
            raise ValueError(f"{name}: a right answer is not accepted: {right}")
        parts.append(f"## `{name}`\n\n{exercise.task}\n\n{len(right)} right answers: accepted.\n")
        wrong = [pair for module in modules for pair in module.WRONG.get(name, [])]
        for function, mistake in sorted(wrong, key=lambda pair: pair[1] is None):
            verdict = exercise.check(function)
            if verdict:
                raise ValueError(f"{name}: a wrong answer is accepted: {mistake}")
            parts.append(f"**{mistake or 'no usual mistake'}**\n\n```text\n{verdict.text}\n```\n")
    return "\n".join(parts)
