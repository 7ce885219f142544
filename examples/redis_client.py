"""Many tasks, one redis: counters, a pipeline, publish and subscribe.

Try it:

    evenloop run examples/redis_client.py redis://127.0.0.1:6379
"""

import asyncio
import sys

from redis.asyncio import BlockingConnectionPool, Redis


async def count(client: Redis, times: int) -> None:
    for _ in range(times):
        await client.incr("evenloop:count")


async def listen(client: Redis, ready: asyncio.Event, wanted: int) -> list[str]:
    heard: list[str] = []
    async with client.pubsub() as channel:
        await channel.subscribe("evenloop:news")
        async for message in channel.listen():
            if message["type"] == "subscribe":
                ready.set()
            else:
                heard.append(message["data"])
            if len(heard) == wanted:
                break
    return heard


async def main(url: str) -> None:
    pool = BlockingConnectionPool.from_url(url, max_connections=20, decode_responses=True)
    async with Redis(connection_pool=pool) as client:
        await client.delete("evenloop:count")
        await asyncio.gather(*(count(client, 100) for _ in range(20)))
        print("counted to", await client.get("evenloop:count"))

        async with client.pipeline() as pipeline:
            for number in range(1000):
                pipeline.set(f"evenloop:{number}", "x" * number, ex=60)
            print("pipelined", len(await pipeline.execute()))

        ready = asyncio.Event()
        listener = asyncio.create_task(listen(client, ready, 3))
        await ready.wait()
        for news in ("one", "two", "three"):
            await client.publish("evenloop:news", news)
        print("heard", ", ".join(await listener))
    await pool.disconnect()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "redis://127.0.0.1:6379"))
