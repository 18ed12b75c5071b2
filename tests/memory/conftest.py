from collections.abc import Iterator

import pytest

from support.postgres import Server


@pytest.fixture(scope="session")
def running_server() -> Iterator[Server]:
    server = Server()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def postgres(running_server: Server) -> Iterator[Server]:
    """A PostgreSQL server that runs, whatever the test before did to it."""
    if not running_server.running:
        running_server.start()
    yield running_server
    if running_server.running:
        running_server.drop_databases()
