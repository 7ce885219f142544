"""CPython's own ``test_asyncio``, run on another loop.

    python -m tests.stdlib                      # on evenloop, as the tests ask for engines
    python -m tests.stdlib --engine epoll       # every loop on one engine
    python -m tests.stdlib --loop stock         # the control: asyncio itself, substituted
    python -m tests.stdlib --modules test_ssl -k handshake -v

What runs is the suite of the interpreter that runs the command (on Debian the package
``libpython3.X-testsuite``), every module of it in its own process and every test under a time
limit.

**What counts.** A test counts when it made at least one loop of the substituted class between
its start and its end, when the recorded baseline has it, or when it failed. The other half of
the suite looks at futures, queues or stock transports with mocks in a loop's place; it is run
(it is quick) and shown in the column "no loop".

**What must pass.** All that stock asyncio passes through the same substitution, as recorded in
``baselines`` (``--loop stock --record-baseline``), except the tests named in
``deviations.toml``. A test of the baseline that is skipped, or does not run, fails the run; so
does an entry of the lists that matches nothing or whose test passes.

The event, socket and sendfile tests exist once for each selector of the platform, and all of
them count: ``--engine selector`` (and no ``--engine``) runs each on the selector it names, any
other engine takes the place of all. The stock loop passes 1124 tests on 3.11, 1217 on 3.12, 1295
on 3.13, 1428 on 3.14 and 1492 on 3.15; counted once for all selectors these are some 910, 1000,
1080, 1190 and 1250.

On Windows there are two stock loops and two of evenloop's; each of these takes the place of its
own, and ``--engine`` puts one in the place of both. Wine counts as a system of its own: there the
stock loops fail some tests, which the baseline names (column "as stock"); evenloop may fail them
too, and nothing else.
"""
