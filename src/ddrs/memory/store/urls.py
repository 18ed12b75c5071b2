"""The URL that names a memory: read, and written so that it can be shown."""

import os
from typing import TYPE_CHECKING

from ddrs.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = ["parse_url", "shown_url"]

_USE = "use memory://, sqlite:///file.db or postgresql://user@host/database"


def parse_url(url: str) -> "URL":
    """A checked URL: `memory://`, `sqlite:///` with an absolute path, or `postgresql://`.

    Raises:
        ConfigurationError: any other URL.
    """
    from sqlalchemy import URL, make_url  # commands import this module and must start at once
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{url!r} is no memory URL: {_USE}") from error
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql")
    plain = parsed == URL.create(parsed.drivername, database=parsed.database)
    if parsed.drivername == "memory" and plain and not parsed.database:
        return parsed
    if parsed.drivername == "sqlite" and plain and parsed.database not in (None, "", ":memory:"):
        return parsed.set(database=os.path.abspath(str(parsed.database)))
    raise ConfigurationError(f"{parsed} is no memory URL: {_USE}")


def shown_url(url: str) -> str:
    """A memory's URL that can be shown and recorded: its path absolute, no password in it.

    Whoever opens that URL of a PostgreSQL database gives the password by PGPASSWORD or ~/.pgpass.

    Raises:
        ConfigurationError: not the URL of a memory.
    """
    parsed = parse_url(url).difference_update_query(["password", "sslpassword"])
    return parsed._replace(password=None).render_as_string(hide_password=False)
