"""Follow a file as it grows, line by line, until a line says "end".

Where the loop can watch a regular file, it does; asyncio's own cannot on any system, and looks
again ten times a second.

Try it:

    evenloop run examples/tail.py server.log
"""

import asyncio
import os
import sys


async def follow(path: str) -> int:
    loop = asyncio.get_running_loop()
    grown = asyncio.Event()
    lines = 0
    rest = b""
    with open(path, "rb", buffering=0) as file:
        try:
            loop.add_reader(file, grown.set)
            watched = True
        except (OSError, NotImplementedError):
            watched = False
        while True:
            # Some C libraries remember that they have seen the end, until one seeks.
            file.seek(0, os.SEEK_CUR)
            while data := file.read(65536):
                *whole, rest = (rest + data).split(b"\n")
                for line in whole:
                    lines += 1
                    print(line.decode(errors="replace").rstrip(), flush=True)
                    if line.strip() == b"end":
                        if watched:
                            loop.remove_reader(file)
                        return lines
            if watched:
                grown.clear()
                await grown.wait()
            else:
                await asyncio.sleep(0.1)


if __name__ == "__main__":
    print(f"{asyncio.run(follow(sys.argv[1]))} lines")
