import pytest
from sqlalchemy.exc import OperationalError

from ddrs.errors import ConfigurationError, StoreError
from ddrs.memory.memory import Memory
from ddrs.memory.store.postgresql import PostgreSQL
from ddrs.memory.store.urls import parse_url, passwords, shown_url

TAKEN = [
    "postgresql://me:s3cret@HOST/db",
    "postgresql://me:s3/cret@HOST/db",
    "postgresql://me:s3#cret@HOST/db",
    "postgresql://me:s3?cret@HOST/db",
    "postgresql://me:s3:cret@HOST/db",
    "postgresql://me:s3%cret@HOST/db",
    "postgresql://me:s3%40cret@HOST/db",
    "postgresql://:s3cret@HOST",
    "postgresql://me@HOST/db?password=s3cret&connect_timeout=2",
    "postgresql://me@HOST/db?Password=s3cret",
    "postgresql://me@HOST/db?password=s3cret&password=s3cret",
    "postgresql://me@HOST/db?sslpassword=s3cret",
    "postgresql:///db?host=HOST&user=me&password=s3cret",
]
REFUSED = [
    "postgresql://me:s3@cret@host/db",
    "postgresql://me@s3cret@host/db",
    "postgresql://me@host/db&password=s3cret",
    "postgresql://me@host/db#s3cret",
    "postgresql://me@host/me:s3cret",
    "postgresql://me@host&password=s3cret",
    "postgresql://me:s3cret@host:port/db",
    "postgresql://me:s3cret@[::1/db",
    "postgresql//me:s3cret@host/db",
    "postgresql:/me:s3cret@host/db",
    "postgresql:me:s3cret@host/db",
    " postgresql://me:s3cret@host/db",
    "POSTGRESQL://me:s3cret@host/db",
    "postgresql+asyncpg://me:s3cret@host/db",
    "mysql://me:s3cret@host/db",
    "sqlite:///m.db?password=s3cret",
    "sqlite://me:s3cret@/m.db",
    "memory://me:s3cret@",
    "host=h password=s3cret",
]


def secret_in(text: object) -> bool:
    return any(word in str(text) for word in ("s3", "cret"))


def chain(error: BaseException | None) -> list[BaseException]:
    """An error and what a traceback would show before it."""
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return found


@pytest.mark.parametrize("url", REFUSED)
@pytest.mark.parametrize("read", [parse_url, shown_url, Memory])
def test_a_url_that_is_refused_is_not_repeated(url, read):
    with pytest.raises(ConfigurationError) as caught:
        read(url)
    assert not any(secret_in(error) for error in chain(caught.value))


@pytest.mark.parametrize("url", TAKEN)
def test_no_password_is_shown_or_recorded(url):
    assert passwords(parse_url(url))
    assert not secret_in(shown_url(url))


@pytest.mark.parametrize("url", TAKEN)
def test_a_server_that_cannot_be_reached_does_not_say_how_one_logs_in(url):
    with pytest.raises(StoreError) as caught:
        Memory(url.replace("HOST", "127.0.0.1"), timeout=0.01)
    assert not secret_in(caught.value)
    assert "connect_timeout" not in str(caught.value)


def test_what_the_driver_says_is_left_out_where_it_has_the_password():
    database = PostgreSQL(parse_url("postgresql://me:s3cret@host/db?sslmode=require"), 1.0)
    assert database.name == "postgresql://me@host/db"
    for words, told in (("no s3cret here", False), ("no route", True)):
        text = database.explain(OperationalError("a statement", {}, Exception(words)))
        assert (words in text) == told
        assert not secret_in(text)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgres://me@host/db", "postgresql://me@host/db"),
        ("postgresql://me%40company@host:5433/my-db", "postgresql://me%40company@host:5433/my-db"),
        ("postgresql:///db?host=/var/run/postgresql", "postgresql:///db?host=/var/run/postgresql"),
        ("postgresql://me@[::1]/db?sslmode=require", "postgresql://me@[::1]/db?sslmode=require"),
        ("memory://", "memory://"),
        ("sqlite:////tmp/a b.db", "sqlite:////tmp/a b.db"),
    ],
)
def test_what_is_shown_can_be_opened_again(url, shown):
    assert shown_url(url).replace("%2F", "/") == shown
    assert shown_url(shown_url(url)) == shown_url(url)
