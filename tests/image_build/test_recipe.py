"""The list of what of our package goes into the agent's image, without building one."""

from __future__ import annotations

import ast
import runpy

from tests.image_build.conftest import PROJECT

AGENT_CODE: tuple[str, ...] = runpy.run_path(str(PROJECT / "image-build/agent/agentimage/recipe.py"))["AGENT_CODE"]


def test_the_image_has_every_package_of_ours_that_its_code_imports() -> None:
    package = PROJECT / "appliance"
    there = {name.removesuffix(".py") for name in AGENT_CODE}
    lacking = set()
    for name in AGENT_CODE:
        for path in [package / name] if name.endswith(".py") else (package / name).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("appliance."):
                    part = (node.module or "").split(".")[1]
                    lacking |= set() if part in there else {f"{path.name}: {part}"}
    assert lacking == set()
