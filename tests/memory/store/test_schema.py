"""A memory with anything in its schema that is not ours is refused before it is read or written."""

import sqlite3
from contextlib import closing

import pytest

from ddrs.errors import StoreError
from ddrs.memory.memory import Memory
from support import version_1

NOT_OURS = "no memory as ddrs makes it"
ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT"


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / "memory.db")
    with Memory(f"sqlite:///{path}") as memory:
        memory.resolve_many([[0.0], [9.0]], [1, 2], [1.0, 1.0])
    return path


def edit(path, *statements):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def made_again(table, old, new):
    """Statements that put another table in place of one, with the same rows."""

    def statements(path):
        with closing(sqlite3.connect(path)) as connection:
            query = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?"
            (sql,) = connection.execute(query, [table]).fetchone()
            columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
        assert sql.count(old) == 1
        names = ", ".join(f'"{row[1]}"' for row in columns if f"\t{row[1]} " not in new)
        return (
            f"ALTER TABLE {table} RENAME TO former",
            sql.replace(old, new),
            f"INSERT INTO {table} ({names}) SELECT {names} FROM former",
            "DROP TABLE former",
        )

    return statements


def given(*statements):
    return lambda path: statements


IN_A_FILE = {
    "a trigger that changes the radius": (
        given(
            "CREATE TRIGGER wider AFTER INSERT ON regions BEGIN "
            "UPDATE regions SET radius = 100.0 WHERE id = new.id; END"
        ),
        "trigger wider",
    ),
    "a trigger that never ends": (
        given(
            "CREATE TRIGGER slow BEFORE INSERT ON inputs BEGIN "
            "INSERT INTO meta WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
            "SELECT i, i FROM n; END"
        ),
        "trigger slow",
    ),
    "a view in place of the entries": (
        given(
            "ALTER TABLE regions RENAME TO kept",
            "CREATE VIEW regions AS SELECT * FROM kept",
        ),
        "view regions is another",
    ),
    "a view that never ends in place of the facts": (
        given(
            "ALTER TABLE meta RENAME TO kept",
            f"CREATE VIEW meta AS {ENDLESS} i AS key, i AS value FROM n",
        ),
        "view meta is another",
    ),
    "a view that never ends in place of the head": (
        given(
            "ALTER TABLE head RENAME TO kept",
            f"CREATE VIEW head AS {ENDLESS} 1 AS id, count(*) AS entries, '' AS chain FROM n",
        ),
        "view head is another",
    ),
    "a generated column": (
        made_again("regions", "\tradius REAL NOT NULL", "\tradius REAL AS (50.0) STORED NOT NULL"),
        "table regions is another",
    ),
    "a column computed as it is read": (
        made_again("inputs", "\tdtype TEXT NOT NULL", "\tdtype TEXT AS (hex(zeroblob(9)))"),
        "table inputs is another",
    ),
    "a check that calls a function": (
        made_again("regions", "PRIMARY KEY (id)", "CHECK (randomblob(9) > ''), PRIMARY KEY (id)"),
        "table regions is another",
    ),
    "a default": (
        made_again("head", "chain TEXT NOT NULL", "chain TEXT DEFAULT 'x' NOT NULL"),
        "table head is another",
    ),
    "a type of the same letters": (
        made_again("regions", "\tradius REAL NOT NULL", "\tradius REAL\u00a0NOT NULL"),
        "table regions is another",
    ),
    "inputs that can be taken twice": (
        made_again("regions", ", \n\tUNIQUE (input_digest)", ""),
        "table regions is another",
    ),
    "a further column": (
        given("ALTER TABLE meta ADD COLUMN note TEXT"),
        "table meta is another",
    ),
    "an index of an expression": (
        given("CREATE INDEX sorted ON regions (abs(radius))"),
        "index sorted",
    ),
    "a further table": (given("CREATE TABLE notes (text TEXT)"), "table notes"),
    "a virtual table": (given("CREATE VIRTUAL TABLE notes USING fts5 (text)"), "table notes"),
    "a name with an escape sequence": (
        given('CREATE VIEW "\x1b[2Jall is well" AS SELECT 1'),
        r"view '\\x1b\[2Jall is well'",
    ),
    "a table that is gone": (given("DROP TABLE inputs"), "no table inputs"),
}


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("name", IN_A_FILE)
def test_a_file_with_anything_else_is_refused_and_untouched(path, name, read_only):
    statements, message = IN_A_FILE[name]
    edit(path, *statements(path))
    before = version_1.dump(path) if "virtual" not in name else None
    with pytest.raises(StoreError, match=f"{NOT_OURS}: .*{message}") as caught:
        Memory(f"sqlite:///{path}", read_only=read_only)
    assert str(caught.value).isprintable()
    if before is not None:
        assert version_1.dump(path) == before


@pytest.mark.parametrize("name", IN_A_FILE)
def test_an_audit_refuses_what_came_while_it_was_open(path, name):
    statements, message = IN_A_FILE[name]
    with Memory(f"sqlite:///{path}") as memory:
        assert memory.audit().ok
        edit(path, *statements(path))
        with pytest.raises(StoreError, match=f"{NOT_OURS}: .*{message}"):
            memory.audit()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER wider AFTER INSERT ON regions BEGIN "
        "UPDATE regions SET radius = 100.0 WHERE id = new.id; END",
        "CREATE VIEW head AS SELECT 1 AS id, 0 AS entries, '' AS chain",
        "ALTER TABLE regions ADD COLUMN note TEXT",
    ],
)
def test_a_file_of_an_earlier_version_is_not_upgraded_with_it(tmp_path, statement):
    path = str(tmp_path / "memory.db")
    x, predictions, radii = version_1.images(5, seed=1)
    version_1.write(path, "l2", x, predictions, radii)
    edit(path, statement)
    before = version_1.dump(path)
    with pytest.raises(StoreError, match=NOT_OURS):
        Memory(f"sqlite:///{path}")
    assert version_1.dump(path) == before


def test_tables_of_one_version_that_call_themselves_another_are_refused(path):
    edit(path, "UPDATE meta SET value = '1' WHERE key = 'schema_version'")
    with pytest.raises(StoreError, match=f"{NOT_OURS}: its table regions is another"):
        Memory(f"sqlite:///{path}")


def test_a_file_of_views_alone_is_no_fresh_memory(tmp_path):
    path = str(tmp_path / "memory.db")
    edit(path, f"CREATE VIEW numbers AS {ENDLESS} i FROM n")
    with pytest.raises(StoreError, match=f"{NOT_OURS}: it has the view numbers"):
        Memory(f"sqlite:///{path}")
    edit(path, "DROP VIEW numbers", f"CREATE VIEW meta AS {ENDLESS} i FROM n")
    with pytest.raises(StoreError, match="no ddrs memory"):
        Memory(f"sqlite:///{path}")


def test_white_space_and_a_rewritten_file_make_no_difference(path):
    edit(path, "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA journal_mode = DELETE")
    with Memory(f"sqlite:///{path}") as memory:
        assert memory.audit().ok
    edit(path, *made_again("head", ", \n\tentries", ",entries")(path))
    with Memory(f"sqlite:///{path}") as memory:
        assert memory.audit().ok


@pytest.mark.parametrize("read_only", [False, True])
def test_no_schema_is_trusted(path, read_only):
    with Memory(f"sqlite:///{path}", read_only=read_only) as memory:
        ask = memory._store._db.engine.connect
        with ask() as connection:
            assert connection.exec_driver_sql("PRAGMA trusted_schema").scalar_one() == 0


IN_A_DATABASE = {
    "a trigger that changes the radius": (
        (
            "CREATE FUNCTION widen() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN new.radius = 100.0; RETURN new; END'",
            "CREATE TRIGGER wider BEFORE INSERT ON regions FOR EACH ROW EXECUTE FUNCTION widen()",
        ),
        "table regions has the trigger wider",
    ),
    "a rule": (
        ("CREATE RULE silent AS ON INSERT TO inputs DO INSTEAD NOTHING",),
        "table inputs has the rule silent",
    ),
    "a view in place of the entries": (
        ("ALTER TABLE regions RENAME TO kept", "CREATE VIEW regions AS SELECT * FROM kept"),
        "table regions is no ordinary table",
    ),
    "a view in place of the facts": (
        ("ALTER TABLE meta RENAME TO kept", "CREATE VIEW meta AS SELECT * FROM kept"),
        "table meta is no ordinary table",
    ),
    "a policy": (
        ("CREATE POLICY few ON regions USING (id < 2)",),
        "table regions has the policy few",
    ),
    "row-level security": (
        ("ALTER TABLE regions ENABLE ROW LEVEL SECURITY",),
        "table regions has row-level security",
    ),
    "a table that a crash empties": (
        ("ALTER TABLE inputs SET UNLOGGED",),
        "table inputs is no ordinary table",
    ),
    "rows of another table": (
        ("CREATE TABLE more () INHERITS (regions)",),
        "table regions shares its rows",
    ),
    "a check": (
        ("ALTER TABLE regions ADD CONSTRAINT small CHECK (radius < 9)",),
        "table regions has the constraint small",
    ),
    "a default": (
        ("ALTER TABLE regions ALTER COLUMN evidence SET DEFAULT 'x'",),
        "table regions has a default or generated value in column evidence",
    ),
    "a generated column": (
        (
            "ALTER TABLE regions DROP COLUMN radius",
            "ALTER TABLE regions ADD COLUMN radius float8 GENERATED ALWAYS AS (50.0) STORED",
        ),
        "table regions has a default or generated value in column radius",
    ),
    "an index of an expression": (
        ("CREATE INDEX sorted ON regions (abs(radius))",),
        "table regions has an index of expressions or of some rows, sorted",
    ),
    "another type": (
        ("ALTER TABLE regions ALTER COLUMN radius TYPE float4",),
        "table regions has other columns",
    ),
    "a further column": (
        ("ALTER TABLE head ADD COLUMN note text",),
        "table head has other columns",
    ),
}


@pytest.mark.parametrize("name", IN_A_DATABASE)
def test_a_database_with_such_tables_is_refused(postgres, name):
    statements, message = IN_A_DATABASE[name]
    url = postgres.database()
    database = url.split("/")[3].split("?")[0]
    with Memory(url) as memory:
        memory.resolve_many([[0.0], [9.0]], [1, 2], [1.0, 1.0])
        assert memory.audit().ok
        for statement in statements:
            postgres.execute(statement, database)
        with pytest.raises(StoreError, match=f"{NOT_OURS}: its {message}"):
            memory.audit()
    for read_only in (False, True):
        with pytest.raises(StoreError, match=f"{NOT_OURS}: its {message}"):
            Memory(url, read_only=read_only)


def test_others_may_have_tables_in_the_database(postgres):
    url = postgres.database()
    database = url.split("/")[3].split("?")[0]
    with Memory(url) as memory:
        memory.resolve([0.0], 1, 1.0)
    postgres.execute("CREATE TABLE notes (text TEXT CHECK (text <> ''))", database)
    postgres.execute("CREATE VIEW shown AS SELECT * FROM regions", database)
    postgres.execute("ANALYZE", database)
    with Memory(url) as memory:
        assert memory.audit().ok


@pytest.mark.parametrize("relation", ["VIEW meta AS", "VIEW head AS", "MATERIALIZED VIEW head AS"])
def test_a_view_of_our_name_is_no_place_for_a_fresh_memory(postgres, relation):
    url = postgres.database()
    database = url.split("/")[3].split("?")[0]
    postgres.execute(f"CREATE {relation} SELECT 1 AS id", database)
    with pytest.raises(StoreError, match=r"no ddrs memory|already exists"):
        Memory(url)
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    assert {name for (name,) in postgres.execute(tables, database)} <= {"meta", "head"}
