"""A pool of PostgreSQL connections, with asyncpg: queries, transactions, COPY and LISTEN.

Try it:

    evenloop run examples/postgres_client.py postgresql://user@127.0.0.1/database
"""

import asyncio
import sys

import asyncpg


async def query(pool: asyncpg.Pool, number: int) -> int:
    async with pool.acquire() as connection:
        return await connection.fetchval("select $1::int * 2", number)


async def main(url: str) -> None:
    async with asyncpg.create_pool(url, min_size=4, max_size=8) as pool:
        answers = await asyncio.gather(*(query(pool, number) for number in range(500)))
        print("500 queries, sum", sum(answers))

        async with pool.acquire() as connection:
            await connection.execute("create temporary table t (number int, word text)")
            rows = [(number, f"word {number}") for number in range(10_000)]
            await connection.copy_records_to_table("t", records=rows)
            print("copied", await connection.fetchval("select count(*) from t"))

            try:
                async with connection.transaction():
                    await connection.execute("delete from t")
                    raise RuntimeError("changed my mind")
            except RuntimeError:
                print("rolled back to", await connection.fetchval("select count(*) from t"))

            heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()

            def hear(_: object, process: int, channel: str, payload: str) -> None:
                heard.set_result(payload)

            await connection.add_listener("news", hear)
            await pool.execute("select pg_notify('news', 'hello')")
            print("heard", await heard)
            await connection.remove_listener("news", hear)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
