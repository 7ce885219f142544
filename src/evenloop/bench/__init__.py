"""`evenloop bench`: evenloop beside every rival that is installed, measured in one run.

The rooms:

- `case`: what a case is; `cases/` holds them, one file per topic, each a few readable lines;
- `contenders`: the loops that can take part, and how each is made;
- `worker`: one process that measures one case on one loop, once;
- `runner`: starts the workers in interleaved rounds and collects what they say;
- `figures`: medians, spreads, ratios and means; `report` and `plot` show them;
- `native`: builds the load generator and the C server from `benchmarks/`; `load` drives them;
- `machine`: what was measured on.

Nothing here is imported by `import evenloop`. docs/performance.md describes the method.
"""
