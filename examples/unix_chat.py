"""A chat over a UNIX socket: what one says, all others read.

`evenloop run` brings it to Windows 10 and newer, too, where asyncio has no UNIX sockets and
cannot read from standard input.

Try it in three terminals:

    evenloop run examples/unix_chat.py serve chat.sock
    evenloop run examples/unix_chat.py join chat.sock Ada
    evenloop run examples/unix_chat.py join chat.sock Grace
"""

import asyncio
import contextlib
import sys

guests: set[asyncio.StreamWriter] = set()


async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(f"{len(guests)} here already\n".encode())
    guests.add(writer)
    try:
        async for line in reader:
            for guest in guests - {writer}:
                guest.write(line)
    except ConnectionError:
        pass
    finally:
        guests.discard(writer)
        writer.close()


async def serve(path: str) -> None:
    async with await asyncio.start_unix_server(welcome, path) as server:
        print(f"listening at {path}", flush=True)
        await server.serve_forever()


async def standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def join(path: str, name: str) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    typed = await standard_input()

    async def listen() -> None:
        async for line in reader:
            print(line.decode().rstrip(), flush=True)

    listener = asyncio.create_task(listen())
    async for line in typed:
        writer.write(f"{name}: {line.decode()}".encode())
    writer.write_eof()
    with contextlib.suppress(ConnectionError):
        await listener
    writer.close()


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    asyncio.run(serve(*arguments) if command == "serve" else join(*arguments))
