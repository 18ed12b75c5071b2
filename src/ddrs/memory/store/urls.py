"""The URL that names a memory: read, and written so that it can be shown."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ddrs.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = ["file_url", "parse_url", "passwords", "shown_url", "without_password"]

_USE = "use memory://, sqlite:///file.db or postgresql://user@host/database"
_SEPARATORS = "@?#&=%"
_IS_NONE = f"what was given is no memory URL: {_USE}"  # itself it may hold a password


def parse_url(url: str) -> "URL":
    """A checked URL: `memory://`, `sqlite:///` with an absolute path, or `postgresql://`.

    Raises:
        ConfigurationError: any other URL, which is not repeated.
    """
    from sqlalchemy import URL, make_url  # commands import this module and must start at once
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError, TypeError, AttributeError):
        raise ConfigurationError(_IS_NONE) from None  # its own words repeat the URL
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        _refuse_hidden_password(str(url), parsed)
        return parsed.set(drivername="postgresql")
    plain = parsed == URL.create(parsed.drivername, database=parsed.database)
    if parsed.drivername == "memory" and plain and not parsed.database:
        return parsed
    if parsed.drivername == "sqlite" and plain and parsed.database not in (None, "", ":memory:"):
        return parsed.set(database=os.path.abspath(str(parsed.database)))
    raise ConfigurationError(_IS_NONE)


def file_url(path: Path) -> str:
    """The URL of a SQLite file, whatever its name; `%` and `?` would mean something in it."""
    return "sqlite:///" + str(path.resolve()).replace("%", "%25").replace("?", "%3F")


def shown_url(url: str) -> str:
    """A memory's URL that can be shown and recorded: its path absolute, no password in it.

    Whoever opens that URL of a PostgreSQL database gives the password by PGPASSWORD or ~/.pgpass.

    Raises:
        ConfigurationError: not the URL of a memory.
    """
    return without_password(parse_url(url)).render_as_string(hide_password=False)


def without_password(parsed: "URL") -> "URL":
    """A parsed URL without any password."""
    secret = [key for key in parsed.query if _is_password(key)]
    return parsed.difference_update_query(secret)._replace(password=None)


def passwords(parsed: "URL") -> list[str]:
    """The passwords in a parsed URL."""
    found = [] if parsed.password is None else [str(parsed.password)]
    for key, value in parsed.query.items():
        if _is_password(key):
            found += [value] if isinstance(value, str) else value
    return [secret for secret in found if secret]


def _is_password(key: str) -> bool:
    return "password" in key.lower()


def _refuse_hidden_password(url: str, parsed: "URL") -> None:
    """Refuse a URL that was taken apart wrongly, as one whose password has `@` or `/` in it is.

    A part of the password would be taken for the host or the database, and be shown with them.
    """
    host, database = parsed.host or "", parsed.database or ""
    authority = url.partition("://")[2].partition("/")[0].partition("?")[0]
    if (
        authority.count("@") > 1
        or set(host) & set(_SEPARATORS)
        or set(database) & set(_SEPARATORS + ":/")
    ):
        raise ConfigurationError(
            "the user, host or database of the PostgreSQL URL seems to have one of @ : / ? # & = % "
            "in it: write such characters of a password as %40 and so on, or give it by PGPASSWORD "
            "or ~/.pgpass"
        )
