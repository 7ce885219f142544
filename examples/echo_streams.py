"""An echo server and a client that talks to it a thousand times, with streams.

Try it:

    evenloop run examples/echo_streams.py
"""

import asyncio
import time


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async for line in reader:
        writer.write(line)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def talk(port: int, times: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(times):
        message = f"message {number}\n".encode()
        writer.write(message)
        if await reader.readline() != message:
            raise RuntimeError(f"message {number} came back changed")
    writer.close()
    await writer.wait_closed()
    return times


async def main() -> None:
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            clients = [group.create_task(talk(port, 100)) for _ in range(10)]
        count = sum(client.result() for client in clients)
        print(f"{count} messages echoed in {time.perf_counter() - start:.3f} s")


if __name__ == "__main__":
    asyncio.run(main())
