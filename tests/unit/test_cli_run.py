"""`evenloop run`: what `python` does with a program, on evenloop."""

from __future__ import annotations

import os
import py_compile
import signal
import subprocess
import sys
import zipapp
from pathlib import Path

import pytest

from evenloop.cli import run as run_command

Done = subprocess.CompletedProcess[str]

REPORT = """\
import asyncio, warnings
warnings.simplefilter("ignore", DeprecationWarning)
def report(loop):
    print(type(loop).__module__.split(".")[0])
    loop.close()
async def main():
    print(type(asyncio.get_running_loop()).__module__.split(".")[0])
"""


def python(*words: object, cwd: Path, **environment: str) -> Done:
    """Run Python itself."""
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def evenloop(*words: object, cwd: Path, **environment: str) -> Done:
    """Run the command."""
    return python("-m", "evenloop", *words, cwd=cwd, **environment)


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


# What `python FILE` and `evenloop run FILE` must agree on, to the letter.
PROGRAMS = {
    "surroundings": """
import sys
print(__name__, __file__, sys.argv, sys.path[0], __package__, __spec__, type(__loader__).__name__)
print(sorted(globals()))
import neighbour
""",
    "exception": "def f():\n    raise ValueError('wanted')\nf()\n",
    "chained exception": """
try:
    {}[1]
except KeyError as error:
    raise RuntimeError("wanted") from error
""",
    "exception group": "raise ExceptionGroup('wanted', [ValueError(1), TypeError(2)])\n",
    "syntax error": "print(1)\ndef f(:\n",
    "syntax error in a module": "import broken\n",
    "exit": "import sys\nsys.exit()\n",
    "exit with a number": "import sys\nsys.exit(7)\n",
    "exit with words": "import sys\nsys.exit('good bye')\n",
    "exit functions": """
import atexit, sys
atexit.register(print, "at exit")
sys.excepthook = lambda kind, error, trace: print(kind, error, trace.tb_lineno, trace.tb_next)
1 / 0
""",
    "interrupt": "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)\n",
    "thread that outlives": """
import threading, time
name = "still here"
def late():
    time.sleep(0.05)
    print(name, __name__)
threading.Thread(target=late).start()
""",
    "pickle": """
import pickle
class Thing: pass
print(type(pickle.loads(pickle.dumps(Thing()))) is Thing)
""",
    "futures": "from __future__ import annotations\ndef f(x: missing): pass\nprint(f.__name__)",
    "no futures": "def f(x: print): pass\nprint(f.__annotations__)",
    "warning": "import warnings\nwarnings.warn('wanted')\n",
    "encoding": "# coding: latin-1\nprint('caf\\xe9')\n",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_file_as_python(name: str, tmp_path: Path) -> None:
    write(tmp_path, "neighbour.py", "print('imported', __name__)\n")
    write(tmp_path, "broken.py", "x = (\n")
    write(tmp_path, "sub/neighbour.py", "print('imported', __name__)\n")
    write(tmp_path, "sub/broken.py", "x = (\n")
    file = write(tmp_path, "sub/program.py", PROGRAMS[name])
    words = [file.relative_to(tmp_path), "--flag", "-m", "a b"]
    wanted = python(*words, cwd=tmp_path)
    seen = evenloop("run", *words, cwd=tmp_path)
    assert seen.stdout == wanted.stdout
    assert seen.stderr == wanted.stderr
    assert seen.returncode == wanted.returncode


def test_link_to_a_file(tmp_path: Path) -> None:
    """sys.path[0] is where the file really lies."""
    file = write(tmp_path, "real/program.py", "import sys\nprint(sys.path[0], sys.argv, __file__)")
    (tmp_path / "link.py").symlink_to(file)
    assert evenloop("run", "link.py", cwd=tmp_path).stdout == (
        python("link.py", cwd=tmp_path).stdout
    )


@pytest.mark.parametrize("name", ["folder", "archive.zip", "archive.pyz", "program.pyc"])
def test_what_else_python_runs(name: str, tmp_path: Path) -> None:
    text = "import sys\nprint(__name__, __file__, sys.argv, sys.path[0], __package__)\n1 / 0\n"
    file = write(tmp_path, "folder/__main__.py", text)
    if name == "program.pyc":
        py_compile.compile(str(file), str(tmp_path / name), doraise=True)
    elif name != "folder":
        zipapp.create_archive(tmp_path / "folder", tmp_path / name)
    wanted = python(name, "x", cwd=tmp_path)
    seen = evenloop("run", name, "x", cwd=tmp_path)
    assert seen.stdout == wanted.stdout
    assert (seen.returncode, wanted.returncode) == (1, 1)
    assert seen.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert "evenloop" not in seen.stderr


def test_module_as_python(tmp_path: Path) -> None:
    text = """
import sys
print(__name__, __file__, sys.argv, sys.path[0], __package__, __spec__.name)
from . import other
"""
    write(tmp_path, "package/__init__.py", "")
    write(tmp_path, "package/__main__.py", text)
    write(tmp_path, "package/module.py", text)
    write(tmp_path, "package/other.py", "print('imported', __name__)\n")
    for module in ("package", "package.module", "package.__main__"):
        words = ["-m", module, "--flag", "-m", "x"]
        wanted = python(*words, cwd=tmp_path)
        seen = evenloop("run", *words, cwd=tmp_path)
        assert (seen.stdout, seen.returncode) == (wanted.stdout, 0), seen.stderr
        assert seen.stderr == ""
    attached = evenloop("run", "-mpackage", "--flag", cwd=tmp_path)
    assert attached.stdout == python("-mpackage", "--flag", cwd=tmp_path).stdout


def test_safe_path(tmp_path: Path) -> None:
    """-P keeps the program's folder out of sys.path."""
    write(tmp_path, "program.py", "import sys\nprint(sys.path)")
    words = ("-P", "-m", "evenloop", "run", "program.py")
    assert python(*words, cwd=tmp_path).stdout == python("-P", "program.py", cwd=tmp_path).stdout


WAYS = {
    "asyncio.run": "asyncio.run(main())",
    "Runner": "with asyncio.Runner() as runner: runner.run(main())",
    "new_event_loop": "report(asyncio.new_event_loop())",
    "SelectorEventLoop": "report(asyncio.SelectorEventLoop())",
    "policy": """
if hasattr(asyncio, "DefaultEventLoopPolicy"):
    asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())
asyncio.run(main())
""",
    "no policy": """
if hasattr(asyncio, "set_event_loop_policy"):
    asyncio.set_event_loop_policy(None)
asyncio.run(main())
""",
    "policy of its own": """
if hasattr(asyncio, "DefaultEventLoopPolicy"):
    class Policy(asyncio.DefaultEventLoopPolicy):
        def new_event_loop(self):
            return super().new_event_loop()
    asyncio.set_event_loop_policy(Policy())
asyncio.run(main())
""",
    "uvloop.install": "import uvloop; uvloop.install(); asyncio.run(main())",
    "uvloop.run": "from uvloop import run; run(main())",
    "uvloop.new_event_loop": "import uvloop; report(uvloop.new_event_loop())",
    "isolated test case": """
import unittest
class Case(unittest.IsolatedAsyncioTestCase):
    async def test(self): await main()
unittest.main()
""",
    "thread": "import threading; threading.Thread(target=lambda: asyncio.run(main())).start()",
    "subclass": """
class Loop(asyncio.SelectorEventLoop): pass
loop = Loop()
print(Loop.__mro__[1].__module__.split(".")[0])
loop.close()
""",
}
if sys.version_info < (3, 14):
    WAYS["get_event_loop"] = "report(asyncio.get_event_loop())"
if sys.version_info >= (3, 12):
    WAYS["loop_factory"] = "asyncio.run(main(), loop_factory=asyncio.SelectorEventLoop)"
if sys.version_info >= (3, 13):
    WAYS["EventLoop"] = "asyncio.run(main(), loop_factory=asyncio.EventLoop)"


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_a_loop(way: str, tmp_path: Path) -> None:
    write(
        tmp_path,
        "uvloop/__init__.py",
        "def install(): raise AssertionError\nnew_event_loop = run = install\n",
    )
    write(tmp_path, "program.py", REPORT + WAYS[way])
    seen = evenloop("run", "program.py", cwd=tmp_path)
    assert seen.stdout == "evenloop\n", seen.stderr
    assert seen.returncode == 0


def test_uvloop_that_cannot_be_imported(tmp_path: Path) -> None:
    write(tmp_path, "uvloop.py", "raise ImportError('broken')")
    text = "for _ in range(2):\n try:\n  import uvloop\n except ImportError as e: print(e)"
    write(tmp_path, "program.py", text)
    assert evenloop("run", "program.py", cwd=tmp_path).stdout == "broken\nbroken\n"


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_workers_follow(method: str, tmp_path: Path) -> None:
    if sys.platform == "win32" and method != "spawn":
        pytest.skip("Windows starts its processes afresh")
    text = """
import multiprocessing
def work(number): asyncio.run(main())
if __name__ == "__main__":
    context = multiprocessing.get_context({!r})
    worker = context.Process(target=work, args=(1,))
    worker.start()
    worker.join()
"""
    write(tmp_path, "program.py", REPORT + text.format(method))
    seen = evenloop("run", "program.py", cwd=tmp_path)
    assert seen.stdout == "evenloop\n", seen.stderr


def test_debug(tmp_path: Path) -> None:
    text = "print(asyncio.new_event_loop().get_debug())"
    write(tmp_path, "program.py", "import asyncio\n" + text)
    assert evenloop("run", "program.py", cwd=tmp_path).stdout == "False\n"
    assert evenloop("run", "--debug", "program.py", cwd=tmp_path).stdout == "True\n"


@pytest.mark.parametrize("how", ["option", "option=", "environment"])
def test_engine(how: str, tmp_path: Path) -> None:
    text = "import asyncio\nloop = asyncio.new_event_loop()\nprint(loop.engine.name)\nloop.close()"
    write(tmp_path, "program.py", text)
    words = {"option": ["--engine", "selector"], "option=": ["--engine=selector"]}.get(how, [])
    environment = {"EVENLOOP_ENGINE": "selector"} if how == "environment" else {}
    seen = evenloop("run", *words, "program.py", cwd=tmp_path, **environment)
    assert seen.stdout == "selector\n", seen.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
def test_interrupted_coroutine(tmp_path: Path) -> None:
    """Ctrl+C cancels the main task; its clean-up runs; the process ends as by the signal."""
    text = """
import asyncio, os, signal
async def main():
    asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
    try:
        await asyncio.sleep(20)
    finally:
        print("cleaned up")
asyncio.run(main())
"""
    write(tmp_path, "program.py", text)
    seen = evenloop("run", "program.py", cwd=tmp_path)
    assert seen.stdout == "cleaned up\n"
    assert seen.returncode == -signal.SIGINT
    assert seen.stderr.endswith("KeyboardInterrupt\n")
    assert "evenloop/cli" not in seen.stderr


WRONG = {
    "file": (["run", "missing.py"], "evenloop: can't open file 'missing.py': No such file"),
    "folder": (["run", "."], "evenloop: can't find a __main__ module in '.'"),
    "module": (["run", "-m", "missing"], "evenloop: no module named 'missing'"),
    "file as module": (["run", "-m", "a.py"], "evenloop: 'a.py' is a file: leave out -m"),
    "relative module": (["run", "-m", ".a"], "evenloop: '.a' is no module name"),
    "submodule": (["run", "-m", "json.missing"], "evenloop: no module named 'json.missing'"),
    "package": (["run", "-m", "email"], "evenloop: no module named 'email.__main__'; 'email' is"),
    "builtin": (["run", "-m", "sys"], "evenloop: 'sys' is not Python code"),
    "engine": (["run", "--engine", "steam", "a.py"], "evenloop: there is no engine 'steam'"),
    "doctor's engine": (["doctor", "--engine", "steam"], "evenloop: there is no engine 'steam'"),
    "nothing": (["run"], "evenloop: run what?"),
}


@pytest.mark.parametrize("name", WRONG)
def test_one_clear_line(name: str, tmp_path: Path) -> None:
    write(tmp_path, "a.py", "print('ran')")
    words, line = WRONG[name]
    seen = evenloop(*words, cwd=tmp_path)
    assert seen.returncode == 2
    assert seen.stdout == ""
    assert seen.stderr.startswith(line)
    assert seen.stderr.count("\n") == 1


def test_wrong_engine_in_the_environment(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "print('ran')")
    seen = evenloop("run", "a.py", cwd=tmp_path, EVENLOOP_ENGINE="steam")
    assert (seen.returncode, seen.stdout) == (2, "")
    assert seen.stderr.startswith("evenloop: there is no engine 'steam'")


def test_module_that_fails_to_import_its_own(tmp_path: Path) -> None:
    """The fault lies in the package: the traceback must show where."""
    write(tmp_path, "package/__init__.py", "import nowhere")
    write(tmp_path, "package/module.py", "")
    seen = evenloop("run", "-m", "package.module", cwd=tmp_path)
    assert seen.returncode == 1
    assert "package/__init__.py" in seen.stderr.replace(os.sep, "/")
    assert seen.stderr.endswith("No module named 'nowhere'\n")


def test_without_run(tmp_path: Path) -> None:
    seen = evenloop("app.py", cwd=tmp_path)
    assert seen.returncode == 2
    assert seen.stderr.endswith("to run the file: evenloop run app.py\n")
    assert evenloop(cwd=tmp_path).returncode == 2
    assert "doctor" in evenloop("--help", cwd=tmp_path).stdout
    assert "MODULE" in evenloop("run", "--help", cwd=tmp_path).stdout
    assert evenloop("--version", cwd=tmp_path).stdout.startswith("evenloop ")


def test_split() -> None:
    split = run_command.split
    assert split(["run", "a.py", "--engine", "x"]) == (["run", "a.py"], ["--engine", "x"])
    assert split(["run", "-m", "m", "-m"]) == (["run", "-m", "m"], ["-m"])
    assert split(["run", "-mm", "a.py"]) == (["run", "-mm"], ["a.py"])
    words = ["run", "--engine", "e", "--debug", "a.py"]
    assert split([*words, "b"]) == (words, ["b"])
    assert split(["run", "--engine=e", "a.py", "b"]) == (["run", "--engine=e", "a.py"], ["b"])
    assert split(["doctor", "--json"]) == (["doctor", "--json"], [])
    assert split(["run", "--engine"]) == (["run", "--engine"], [])
