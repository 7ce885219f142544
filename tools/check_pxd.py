"""Holds each .pxd and the .py beside it together: what drifts apart breaks one mode only.

A name that the .py sets and the .pxd lacks fails only when compiled, and at run time; one that
the .pxd declares and the .py never sets fails only uncompiled. Checked for every module that the
package compiles:

- a class, method or function of the .pxd is in the .py, with the same parameters;
- an attribute that the .py sets on self is declared, by the class or one it inherits from;
- a declared attribute is set on self somewhere in the .py class (or one it inherits from);
- and a .pxd that declares classes belongs to a module that is compiled at all.

Run from the project's root: python tools/check_pxd.py
"""

from __future__ import annotations

import ast
import re
import runpy
import sys
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path("src")
IMPLICIT = {"__weakref__", "__dict__"}
CLASS = re.compile(r"cdef (?:public |api )?class (\w+)(?:\(([\w.]+)\))?")
SIGNATURE = re.compile(r"(?:cdef|cpdef)\s+(?:inline\s+)?(?:.*?[\s*])?(\w+)\((.*)\)[^()]*$")


@dataclass
class Shape:
    """What one file says of a class."""

    base: str | None = None
    attributes: set[str] = field(default_factory=set)
    defaults: set[str] = field(default_factory=set)  # set in the body of the class
    methods: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Module:
    """What one file says."""

    classes: dict[str, Shape] = field(default_factory=dict)
    functions: dict[str, list[str]] = field(default_factory=dict)


def split_outside(text: str) -> list[str]:
    """Split at commas that are not inside brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([<") - (character in ")]>")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def parameter_names(text: str) -> list[str]:
    """The names in a parameter list of Cython's: the last word of each."""
    names = []
    for part in split_outside(text):
        words = re.findall(r"\w+", part.partition("=")[0])
        if words and part != "*":
            names.append(words[-1])
    return names


def logical_lines(text: str) -> list[tuple[int, str]]:
    """The lines of a .pxd with their indents, comments dropped and brackets joined."""
    lines: list[tuple[int, str]] = []
    pending, depth, quoted = "", 0, False
    for raw in text.splitlines():
        if raw.count('"""') == 1:
            quoted = not quoted
            continue
        line = raw.partition("#")[0].rstrip()
        if quoted or not line.strip():
            continue
        pending = f"{pending} {line.strip()}" if pending else line
        depth += sum(line.count(c) for c in "([") - sum(line.count(c) for c in ")]")
        if depth <= 0:
            lines.append((len(pending) - len(pending.lstrip()), pending.strip()))
            pending, depth = "", 0
    return lines


def read_pxd(text: str) -> Module:
    """What a .pxd declares."""
    module, shape, block = Module(), None, ""
    for indent, line in logical_lines(text):
        if indent == 0:
            block = line
            found = CLASS.match(line)
            shape = module.classes.setdefault(found[1], Shape()) if found else None
            if found and shape is not None:
                shape.base = found[2].rpartition(".")[2] if found[2] else None
            elif signature := SIGNATURE.match(line.rstrip(":")):
                module.functions[signature[1]] = parameter_names(signature[2])
        elif shape is not None and CLASS.match(block) and indent <= 4:
            read_member(line, shape)
    return module


def read_member(line: str, shape: Shape) -> None:
    """One line inside a cdef class."""
    if not line.startswith(("cdef ", "cpdef ")):
        return
    if signature := SIGNATURE.match(line.rstrip(":")):
        shape.methods[signature[1]] = parameter_names(signature[2])
        return
    for part in split_outside(line):
        words = re.findall(r"\w+", re.sub(r"\[.*?\]", "", part))
        if words:
            shape.attributes.add(words[-1])


def read_py(text: str) -> Module:
    """What a .py defines."""
    module = Module()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            shape = module.classes[node.name] = Shape()
            for base in node.bases[:1]:
                shape.base = ast.unparse(base).rpartition(".")[2]
            for item in node.body:
                if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
                    shape.methods[item.name] = arguments(item)
                    shape.attributes |= set_on_self(item)
                elif isinstance(item, ast.Assign | ast.AnnAssign) and item.value is not None:
                    targets = [item.target] if isinstance(item, ast.AnnAssign) else item.targets
                    shape.defaults.update(ast.unparse(target) for target in targets)
        elif isinstance(node, ast.FunctionDef):
            module.functions.setdefault(node.name, arguments(node))
    return module


def arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """The names of a function's parameters."""
    args = function.args
    return [arg.arg for arg in [*args.posonlyargs, *args.args, *args.kwonlyargs]]


def set_on_self(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """The attributes that a method sets on its first parameter."""
    owner = next(iter(arguments(function)), None)
    return {
        node.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == owner
    }


def lineage(name: str | None, shapes: dict[str, Shape]) -> list[Shape]:
    """A class and those it inherits from, as far as they are known."""
    found: list[Shape] = []
    while name in shapes and len(found) < 20:
        found.append(shapes[name])
        name = shapes[name].base
    return found


def compare(
    where: str, declared: Module, written: Module, known: tuple[dict[str, Shape], dict[str, Shape]]
) -> list[str]:
    """The places where one module's two files disagree."""
    problems = []
    for name, parameters in declared.functions.items():
        if name not in written.functions:
            problems.append(f"{where}: function {name} is only in the .pxd")
        elif written.functions[name] != parameters:
            problems.append(f"{where}: {name}: {parameters} in the .pxd, not the .py")
    for name, shape in declared.classes.items():
        other = written.classes.get(name)
        if other is None:
            problems.append(f"{where}: class {name} is only in the .pxd")
            continue
        inherited = lineage(name, known[0])
        declarable = IMPLICIT.union(*(each.attributes for each in inherited))
        settable = IMPLICIT.union(
            *(each.attributes | each.defaults for each in lineage(name, known[1])),
            # A base may hold what its heirs need, so that all have one size.
            *(heir.attributes for heir in written.classes.values() if heir.base == name),
        )
        problems += [
            f"{where}: {name}.{attribute} is set by the .py, not declared in the .pxd"
            for attribute in sorted(other.attributes - declarable)
            if attribute not in other.methods
        ]
        problems += [
            f"{where}: {name}.{attribute} is declared in the .pxd, never set by the .py"
            for attribute in sorted(shape.attributes - settable)
        ]
        for method, parameters in shape.methods.items():
            if method not in other.methods:
                problems.append(f"{where}: {name}.{method} is only in the .pxd")
            elif other.methods[method] != parameters:
                problems.append(
                    f"{where}: {name}.{method}: {parameters} in the .pxd, "
                    f"{other.methods[method]} in the .py"
                )
    return problems


def main() -> int:
    """Check every compiled module; the number of problems decides the exit status."""
    mode = runpy.run_path(str(SOURCE / "evenloop" / "_mode.py"))
    everywhere: list[str] = mode["EVERYWHERE"]
    stems = [SOURCE.joinpath(*name.split(".")) for name in everywhere]
    for names in mode["BY_PLATFORM"].values():
        # Those of a platform are mostly leaves in Cython alone.
        leaves = [SOURCE.joinpath(*name.split(".")) for name in names]
        stems += [leaf for leaf in leaves if leaf.with_suffix(".py").exists()]
    problems = [
        f"{stem.as_posix()}: has no {suffix}"
        for stem in stems
        for suffix in (".py", ".pxd")
        if not stem.with_suffix(suffix).exists()
    ]
    for file in sorted((SOURCE / "evenloop").rglob("*.pxd")):
        listed = file.with_suffix("") in stems or not file.with_suffix(".py").exists()
        if not listed and read_pxd(file.read_text("utf-8")).classes:
            problems.append(f"{file.as_posix()}: declares classes of a module nobody compiles")
    stems = [
        stem
        for stem in stems
        if stem.with_suffix(".py").exists()
        and stem.with_suffix(".pxd").exists()
        # What is compiled from a .pyx of its own is a twin, not the same source.
        and not stem.with_suffix(".pyx").exists()
    ]
    # A .pxd whose .py is not compiled holds C twins of its functions.
    declared = {stem: read_pxd(stem.with_suffix(".pxd").read_text("utf-8")) for stem in stems}
    # What is written in Cython alone has heirs: their attributes are its own.
    alone = [
        read_pxd(file.read_text("utf-8"))
        for file in sorted((SOURCE / "evenloop").rglob("*.pxd"))
        if file.with_suffix(".pyx").exists()
    ]
    written = {stem: read_py(stem.with_suffix(".py").read_text("utf-8")) for stem in stems}
    known = (
        {
            name: shape
            for module in [*alone, *declared.values()]
            for name, shape in module.classes.items()
        },
        {name: shape for module in written.values() for name, shape in module.classes.items()},
    )
    for stem in stems:
        problems += compare(stem.as_posix(), declared[stem], written[stem], known)
    for problem in problems:
        print(problem)
    print(f"{len(stems)} modules compared, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
