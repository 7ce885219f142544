"""An echo server and its client, as plain protocols: asyncio's fastest way to write a server.

Try it:

    evenloop run examples/echo_protocol.py serve 8888
    evenloop run examples/echo_protocol.py send 8888 hello
"""

import asyncio
import sys


class EchoServer(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class EchoClient(asyncio.Protocol):
    def __init__(self, message: bytes) -> None:
        self.message = message
        self.answer = bytearray()
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.message)

    def data_received(self, data: bytes) -> None:
        self.answer += data
        if len(self.answer) >= len(self.message):
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.done.set_result(bytes(self.answer))


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(EchoServer, "127.0.0.1", port)
    print("listening on port", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def send(port: int, message: str) -> None:
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(
        lambda: EchoClient(message.encode()), "127.0.0.1", port
    )
    print((await client.done).decode())


if __name__ == "__main__":
    command, port, *words = sys.argv[1:]
    asyncio.run(serve(int(port)) if command == "serve" else send(int(port), " ".join(words)))
