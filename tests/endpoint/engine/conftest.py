"""Engines with a driver in the agent's place."""

import pytest

from tests.endpoint.engine.driver import PROCESSES, Driver


@pytest.fixture
def make_driver(tmp_path):
    drivers = []

    def make(config=PROCESSES, *, workers=1, directory=None):
        driver = Driver(directory or tmp_path / f"endpoint-{len(drivers)}", config.format(workers=workers))
        drivers.append(driver)
        return driver

    yield make
    for driver in drivers:
        driver.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One worker for the tests that leave it as they found it."""
    driver = Driver(tmp_path_factory.mktemp("shared"), PROCESSES.format(workers=1))
    yield driver
    driver.stop()


@pytest.fixture(scope="module")
def make_module_driver(tmp_path_factory):
    """Like `make_driver`, for drivers that all tests of a file share."""
    drivers = []

    def make(config, *, workers):
        drivers.append(Driver(tmp_path_factory.mktemp("shared"), config.format(workers=workers)))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.stop()
