"""The tests; a system that this one is to be taken for is put up before they are imported."""

import os

if os.environ.get("EVENLOOP_TEST_LIBKQUEUE"):
    from tests.support import libkqueue

    libkqueue.install()
elif os.environ.get("EVENLOOP_TEST_KQUEUE_MODEL"):
    from tests.support import kqueue_model

    kqueue_model.install()
