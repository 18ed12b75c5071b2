import inspect

import pytest

from ddrs.memory.store.database import Database
from ddrs.memory.store.postgresql import PostgreSQL
from ddrs.memory.store.sqlite import SQLite

METHODS = {
    name: member
    for name, member in vars(Database).items()
    if inspect.isfunction(member) and not name.startswith("_")
}


def test_the_protocol_is_what_a_store_calls():
    called = "exists configure begin check foreign keep_copy explain lost"
    assert set(METHODS) == set(called.split())
    assert set(Database.__annotations__) == {"name", "engine"}


@pytest.mark.parametrize("kind", [SQLite, PostgreSQL])
@pytest.mark.parametrize("name", METHODS)
def test_every_database_meets_it_to_the_letter(kind, name):
    assert inspect.signature(vars(kind)[name]) == inspect.signature(METHODS[name])
