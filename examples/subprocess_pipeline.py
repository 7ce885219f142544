"""A pipeline of processes, as a shell makes it: numbers | the even ones | their sum.

Try it:

    evenloop run examples/subprocess_pipeline.py 100000
"""

import asyncio
import sys
from asyncio.subprocess import PIPE

SOURCE = "import sys\nfor number in range(int(sys.argv[1])): print(number)"
FILTER = "import sys\nfor line in sys.stdin:\n    if int(line) % 2 == 0: print(line, end='')"
TOTAL = "import sys\nprint(sum(map(int, sys.stdin)))"


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """Carry everything from one process to the next; the slower one sets the pace."""
    carried = 0
    while chunk := await reader.read(1 << 16):
        carried += len(chunk)
        writer.write(chunk)
        await writer.drain()
    writer.close()
    await writer.wait_closed()
    return carried


async def main(count: str) -> None:
    python = sys.executable
    source = await asyncio.create_subprocess_exec(python, "-c", SOURCE, count, stdout=PIPE)
    even = await asyncio.create_subprocess_exec(python, "-c", FILTER, stdin=PIPE, stdout=PIPE)
    total = await asyncio.create_subprocess_exec(python, "-c", TOTAL, stdin=PIPE, stdout=PIPE)
    assert source.stdout and even.stdin and even.stdout and total.stdin and total.stdout
    first, second, answer = await asyncio.gather(
        pump(source.stdout, even.stdin),
        pump(even.stdout, total.stdin),
        total.stdout.read(),
    )
    statuses = await asyncio.gather(source.wait(), even.wait(), total.wait())
    print(f"{first} bytes, then {second} bytes, sum {answer.decode().strip()}, {statuses}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "10000"))
