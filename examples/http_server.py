"""A little web server and a little client for it, with streams alone.

Try it:

    evenloop run examples/http_server.py serve 8080
    evenloop run examples/http_server.py get 127.0.0.1 8080 /hello 100
"""

import asyncio
import sys


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection, for as long as it is kept."""
    try:
        while request := await reader.readline():
            while (await reader.readline()).strip():
                pass  # headers, up to the empty line
            _, path, _ = request.decode("latin-1").split(" ", 2)
            body = f"you asked for {path}\n".encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            await writer.drain()
    except (ConnectionError, ValueError):
        pass  # it went away, or spoke something else
    finally:
        writer.close()


async def serve(port: str) -> None:
    async with await asyncio.start_server(answer, "127.0.0.1", int(port)) as server:
        print(f"listening on port {server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


async def get(host: str, port: str, path: str, times: str = "1") -> None:
    reader, writer = await asyncio.open_connection(host, int(port))
    body = b""
    for _ in range(int(times)):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        length = 0
        while (line := (await reader.readline()).strip()) != b"":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = await reader.readexactly(length)
    writer.close()
    await writer.wait_closed()
    print(f"{times} answers, the last one: {body.decode().strip()}", flush=True)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    asyncio.run(serve(*arguments) if command == "serve" else get(*arguments))
