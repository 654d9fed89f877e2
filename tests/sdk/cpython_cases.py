"""CPython's own cases for executors, run against `funcx_lab.Executor` on the real service.

A program of its own (``python cpython_cases.py``): the cases look after all children and threads of
their process. It needs a Python that comes with its test-suite.
"""

import unittest

import test.test_concurrent_futures as suite

from funcx_lab import Executor, FuncXClient

try:  # since Python 3.12 a package
    from test.test_concurrent_futures import executor, test_as_completed, test_shutdown, test_wait, util
except ImportError:
    executor = test_as_completed = test_shutdown = test_wait = util = suite

_clients: list[FuncXClient] = []


class Mixin(util.ExecutorMixin):
    worker_count = 2

    @staticmethod
    def executor_type(max_workers: int) -> Executor:
        if not _clients:
            _clients.append(FuncXClient())
        return Executor("local", _clients[0])


class ExecutorCases(Mixin, executor.ExecutorTest, util.BaseTestCase):
    test_max_workers_negative = None  # an endpoint's config says how many workers there are


class AsCompletedCases(Mixin, test_as_completed.AsCompletedTests, util.BaseTestCase):
    pass


class WaitCases(Mixin, test_wait.WaitTests, util.BaseTestCase):
    pass


class ShutdownCases(Mixin, test_shutdown.ExecutorShutdownTest, util.BaseTestCase):
    # These import the executor from concurrent.futures by its name.
    test_interpreter_shutdown = None
    test_submit_after_interpreter_shutdown = None
    test_hang_gh83386 = None


if __name__ == "__main__":
    unittest.main()
