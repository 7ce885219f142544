"""Follow any number of files as they grow, line by line, as `tail -f` does: no threads, no polling.

Try it:

    evenloop run examples/tail_many.py /var/log/*.log
"""

import asyncio
import os
import sys


def follow(path, show):
    file = open(path, "rb", buffering=0)  # noqa: SIM115  followed to the end
    file.seek(0, os.SEEK_END)
    rest = b""

    def grown():
        nonlocal rest
        data = file.read(65536)
        if not data and os.fstat(file.fileno()).st_size < file.tell():
            file.seek(0)  # it was truncated, and begins anew
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            show(path, line.decode(errors="replace"))

    asyncio.get_running_loop().add_reader(file, grown)


async def main(paths):
    for path in paths:
        follow(path, lambda path, line: print(f"{path}: {line}", flush=True))
    print(f"following {len(paths)} files", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
