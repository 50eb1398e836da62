"""What the linters do not hold: the size of modules and functions, and which words the project never says."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for folder in ("appliance", "image-build", "tests") for path in (ROOT / folder).rglob("*.py"))
MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 60


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if "tests" not in p.relative_to(ROOT).parts], ids=lambda p: str(p.relative_to(ROOT))
)
def test_a_module_is_one_subject_and_its_functions_fit_a_screen(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{node.name} has {length} lines"


def test_every_module_says_what_it_is() -> None:
    silent = [
        p
        for p in SOURCES
        if p.name != "__init__.py" and not ast.get_docstring(ast.parse(p.read_text(encoding="utf-8")))
    ]
    assert [str(p.relative_to(ROOT)) for p in silent] == []


def test_no_file_of_the_project_names_a_path_of_a_developers_machine() -> None:
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    words = re.compile("|".join(["/ro" + "ot/", "/wo" + "rk/", "py" + r"pi\.org", "files.python" + "hosted"]))
    found = [n for n in names if n and (ROOT / n).is_file() and words.search((ROOT / n).read_text("utf-8", "replace"))]
    assert found == []
