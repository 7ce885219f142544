"""Imports flow one way, and one room knows the operating system."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "evenloop"
MODULES = sorted(path for path in SOURCE.rglob("*.py"))

#: From the top of the house to its foundation: a room imports from lower floors, or its own.
FLOORS = [
    {"__main__", "cli", "bench", "integrations"},
    {"__init__", "runners"},
    {"loop"},
    {
        "transports",
        "streams",
        "net",
        "signals",
        "subprocesses",
        "named_pipes",
        "executor",
        "readers",
        "children",
        "files",
        "regular",
    },
    {"scheduler"},
    {"handles", "timers", "_queues", "engines", "platforms"},
    {"_mode", "_cython", "_calls", "_clock", "_describe", "_version"},
]

#: Cold rooms whose subject is the difference between systems.
KNOW_THE_SYSTEM = {"engines", "platforms", "signals", "subprocesses", "children", "_mode", "_clock"}
KNOW_THE_SYSTEM |= {"named_pipes"}
#: Programs around the loop, not part of it.
KNOW_THE_SYSTEM |= {"cli", "bench"}


def _room(path: Path) -> str:
    """The first name below the package: a module's own, or its folder's."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _floor(room: str) -> int:
    for number, rooms in enumerate(FLOORS):
        if room in rooms:
            return number
    raise AssertionError(f"{room} lies on no floor: say where it belongs")


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def _imports(path: Path) -> list[tuple[str, int, bool]]:
    """Names of evenloop's that a module imports at run time, with line and whether at import."""
    found: list[tuple[str, int, bool]] = []

    def visit(node: ast.AST, top: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if _is_type_checking(child):
                continue
            inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            if isinstance(child, ast.Import):
                found.extend((alias.name, child.lineno, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                module = child.module or ""
                if child.level:
                    package = ["evenloop", *path.relative_to(SOURCE).parts[:-1]]
                    package = package[: len(package) - child.level + 1]
                    module = ".".join([*package, module]).rstrip(".")
                if module == "evenloop":
                    found.extend(
                        (f"evenloop.{alias.name}", child.lineno, top) for alias in child.names
                    )
                else:
                    found.append((module, child.lineno, top))
            visit(child, top and not inside)

    visit(ast.parse(path.read_text(encoding="utf-8")), True)
    return [one for one in found if one[0].split(".")[0] == "evenloop"]


def _rooms_of_the_package() -> set[str]:
    return {_room(path) for path in MODULES}


def test_there_is_something_to_look_at() -> None:
    assert len(MODULES) > 10
    assert {"loop", "scheduler", "engines", "transports", "net"} <= _rooms_of_the_package()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_flow_one_way(path: Path) -> None:
    own = _room(path)
    rooms = _rooms_of_the_package()
    wrong = []
    for module, line, _ in _imports(path):
        parts = module.split(".")
        # A name of the package itself (evenloop.run) is the ground floor's door.
        room = parts[1] if len(parts) > 1 and parts[1] in rooms else "__init__"
        if room != own and _floor(room) < _floor(own):
            wrong.append(f"line {line}: {own} imports {module} from above")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_only_the_rooms_that_may_ask_for_the_system(path: Path) -> None:
    if _room(path) in KNOW_THE_SYSTEM:
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    wrong = [
        f"line {node.lineno}: {node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in {("sys", "platform"), ("os", "name")}
    ]
    assert not wrong, "\n".join(wrong)


def test_engines_import_nothing_above_them() -> None:
    for path in MODULES:
        if _room(path) == "engines":
            for module, line, _ in _imports(path):
                room = (module.split(".") + ["__init__"])[1]
                assert _floor(room) >= _floor("engines"), f"{path.name}:{line} {module}"


_ALONE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        room = name.partition(".")[0]
        if room not in sys.stdlib_module_names and room != "evenloop" and "_cython" not in room:
            raise ModuleNotFoundError(f"no package but evenloop here: {name}", name=name)

sys.meta_path.insert(0, Refuse())
import evenloop

loop = evenloop.new_event_loop()
loop.run_until_complete(loop.create_task(__import__("asyncio").sleep(0)))
loop.close()
print([name for name in sys.modules if name.startswith("evenloop.cli")])
"""


def test_importing_evenloop_needs_no_other_package() -> None:
    """Where nothing else is installed it runs; and it does not load its command line."""
    result = subprocess.run(
        [sys.executable, "-c", _ALONE], capture_output=True, text=True, check=False, timeout=30
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 600
