"""The embedded servers: they start, survive what happens to processes, and stop with their last user."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dj_database_url
import psutil
import psycopg2
import pytest
import redis
from kombu import Connection

from titanic_site.env import broker_url
from titanic_site.runtime import embedded, postgres
from titanic_site.runtime.embedded import EmbeddedError, Layout, Services, in_use
from titanic_site.runtime.server import take_lock

USER = """
import sys, time
from pathlib import Path
from titanic_site.runtime import embedded
layout = embedded.Layout(Path(sys.argv[1]))
with embedded.in_use(layout):
    print((layout.root / "postgres/data/postmaster.pid").read_text().split()[0], flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def layout() -> Iterator[Layout]:
    """A home most tests share: each leaves it with the servers down."""
    yield from _temporary(Path(tempfile.mkdtemp(prefix="titanic-test-")))


@pytest.fixture
def new_layout() -> Iterator[Layout]:
    """A home nothing ever ran in."""
    yield from _temporary(Path(tempfile.mkdtemp(prefix="titanic-test-")))


def _temporary(directory: Path) -> Iterator[Layout]:
    found = Layout(directory)
    yield found
    shutil.rmtree(directory)


@pytest.fixture
def user(layout: Layout) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start processes that use the services until their standard input ends."""
    started: list[subprocess.Popen[str]] = []

    def _start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", USER, str(layout.home)]
        started.append(
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
            )
        )
        return started[-1]

    yield _start
    for process in started:
        process.kill()
        process.communicate()
    assert _soon(lambda: not _is_running(layout))


def query(layout: Layout, sql: str) -> str:
    connection = psycopg2.connect(layout.database_url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(sql)
        found = cursor.fetchone()[0] if cursor.description else ""
    connection.close()
    return str(found)


def valkey(layout: Layout) -> redis.Redis:
    return redis.Redis.from_url(layout.redis_url)


def kill_postgres(layout: Layout) -> None:
    os.kill(_postgres_pid(layout), signal.SIGKILL)


def kill_valkey(layout: Layout) -> None:
    with valkey(layout) as client:
        os.kill(client.info("server")["process_id"], signal.SIGKILL)


def _postgres_pid(layout: Layout) -> int:
    return int((layout.root / "postgres/data/postmaster.pid").read_text().split()[0])


def _is_running(layout: Layout) -> bool:
    return any(server.is_running() for server in Services(layout).servers)


def _soon(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_it_works(new_layout: Layout) -> None:
    with in_use(new_layout) as services:
        assert services.are_answering()
        assert query(new_layout, "SELECT current_user || current_database()") == "titanictitanic"
        assert query(new_layout, "SHOW fsync") == "on"
        with valkey(new_layout) as client:
            assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"

    assert not _is_running(new_layout)


def test_the_servers_listen_on_private_sockets_alone(layout: Layout) -> None:
    with in_use(layout), valkey(layout) as client:
        assert query(layout, "SHOW listen_addresses") == ""
        assert client.config_get("port")["port"] == "0"
        for name in ("postgres", "valkey"):
            assert (layout.sockets / name).stat().st_mode & 0o077 == 0


def test_a_second_start_keeps_the_data(layout: Layout) -> None:
    with in_use(layout), valkey(layout) as client:
        query(layout, "CREATE TABLE kept AS SELECT 1 AS one")
        client.set("kept", 1)

    with in_use(layout), valkey(layout) as client:
        assert query(layout, "SELECT one FROM kept") == "1"
        assert client.get("kept") == b"1"
        query(layout, "DROP TABLE kept")


@pytest.mark.parametrize("kill", [kill_postgres, kill_valkey])
def test_a_killed_server_comes_back_with_what_was_written(layout: Layout, kill: Callable[[Layout], None]) -> None:
    with in_use(layout) as services, valkey(layout) as client:
        query(layout, "CREATE TABLE written AS SELECT 1 AS one")
        client.set("written", 1)
        kill(layout)
        assert _soon(lambda: not services.are_answering())

        services.start()

        assert query(layout, "SELECT one FROM written") == "1"
        assert client.get("written") == b"1"
        query(layout, "DROP TABLE written")


def test_a_valkey_that_cannot_write_answers_and_goes_on_when_it_can(layout: Layout) -> None:
    with in_use(layout) as services, valkey(layout) as client:
        # It cannot move its dump there, and then refuses even PING as it does with a full disk.
        in_the_way = services.valkey.data / "dump.rdb"
        (in_the_way / "something").mkdir(parents=True)
        client.config_set("save", "3600 1")
        client.bgsave()
        assert _soon(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
        with pytest.raises(redis.ResponseError, match="unable to persist to disk"):
            client.ping()

        assert services.are_answering()
        services.start()

        shutil.rmtree(in_the_way)
        client.bgsave()
        assert _soon(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "ok")
        assert client.ping()


def test_a_large_log_is_begun_anew_while_the_server_writes(layout: Layout) -> None:
    with in_use(layout) as services:
        server, old = services.postgres, services.postgres.log.with_suffix(".old.log")
        server.rotate_log()
        assert not old.exists()
        with server.log.open("ab") as log:
            log.write(b"x" * 11 * 1024**2)

        server.rotate_log()
        with pytest.raises(psycopg2.Error):
            query(layout, "SELECT no_such_column")

        assert old.stat().st_size > 11 * 1024**2
        assert _soon(lambda: "no_such_column" in server.log.read_text())
        assert server.log.stat().st_size < 100_000
        old.unlink()


def test_a_session_that_computes_does_not_keep_a_killed_postgres_down(layout: Layout) -> None:
    with in_use(layout) as services:
        busy = psycopg2.connect(layout.database_url, async_=True)
        assert _soon(lambda: busy.poll() == psycopg2.extensions.POLL_OK)
        busy.cursor().execute("SELECT sum(sqrt(one)) FROM generate_series(1, 1000000000) AS one")
        state = f"SELECT state FROM pg_stat_activity WHERE pid = {busy.info.backend_pid}"
        assert _soon(lambda: busy.poll() == psycopg2.extensions.POLL_READ and query(layout, state) == "active")
        kill_postgres(layout)

        services.start()

        assert query(layout, "SELECT 1") == "1"
        busy.close()


def test_a_frozen_server_keeps_nobody_waiting_who_has_other_work(layout: Layout) -> None:
    with in_use(layout) as services:
        server = psutil.Process(int((layout.root / "postgres/data/postmaster.pid").read_text().split()[0]))
        server.suspend()
        began = time.monotonic()
        try:
            with pytest.raises(EmbeddedError, match="does not answer"):
                services.start(patience=0.5)
        finally:
            server.resume()

        # It was two minutes, in which `up` restarted nothing else.
        assert time.monotonic() - began < 30
        services.start(patience=30)
        assert query(layout, "SELECT 1") == "1"


def test_a_pid_that_somebody_else_has_now_is_no_server(layout: Layout) -> None:
    with in_use(layout) as services:
        kill_postgres(layout)
        stale = (layout.root / "postgres/data/postmaster.pid").read_text().split("\n")
        assert _soon(lambda: not services.postgres.is_running())
        (layout.root / "postgres/data/postmaster.pid").write_text("\n".join([str(os.getpid()), *stale[1:]]))

        services.start()

        assert query(layout, "SELECT 1") == "1"


def test_what_lies_where_the_sockets_belong_is_replaced(layout: Layout) -> None:
    with in_use(layout):
        pass
    for path in (layout.sockets / "postgres/.s.PGSQL.5432", layout.sockets / "valkey/valkey.sock"):
        path.write_text("left behind")

    with in_use(layout) as services:
        assert services.are_answering()


def test_what_is_answered_is_in_the_file_also_while_it_is_brought_to_the_disk(layout: Layout) -> None:
    with in_use(layout), valkey(layout) as client:
        client.set("first", 0)
        file = max((layout.root / "valkey/data/appendonlydir").glob("*.incr.aof"))
        size, end = file.stat().st_size, time.monotonic() + 4

        while time.monotonic() < end:
            client.set("next", b"x")
            before, size = size, file.stat().st_size
            assert size > before


def test_an_append_only_file_cut_in_the_middle_of_a_write_is_read(layout: Layout) -> None:
    with in_use(layout), valkey(layout) as client:
        client.set("whole", 1)
    last = max((layout.root / "valkey/data/appendonlydir").glob("*.incr.aof"))
    with last.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nha")

    with in_use(layout), valkey(layout) as client:
        assert client.get("whole") == b"1"


def test_the_application_is_no_superuser_and_nobody_signs_in_as_one(layout: Layout) -> None:
    with in_use(layout) as services:
        role = query(layout, "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = 'titanic'")
        assert role == "False"
        for statement in ("COPY (SELECT 1) TO PROGRAM 'id'", "SELECT pg_read_file('/etc/passwd')", "CREATE ROLE ann"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                query(layout, statement)
        for role in ("superuser", "postgres"):
            with pytest.raises(psycopg2.OperationalError, match="no pg_hba"):
                psycopg2.connect(host=str(services.postgres.sockets), user=role, dbname="titanic")


def test_in_a_home_of_an_older_version_the_application_loses_its_superuser(
    new_layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Arrange: the cluster as 0.2.0 made it, with a partition, an identity, a sequence and a view.
    server = Services(new_layout).postgres
    for directory in (server.data.parent, server.log.parent):
        directory.mkdir(parents=True)
    lock = take_lock(new_layout.root / "arrange.lock")
    assert lock is not None
    if account := server._run_as():
        server._grant_access(account)
    server._run("initdb", "-D", str(server.data), "--auth-local=trust", "--username=titanic", "--locale=C", lock=lock)
    server._run_single("CREATE DATABASE titanic", data=server.data, database="postgres", lock=lock)
    os.close(lock)
    with monkeypatch.context() as patch:
        patch.setattr(postgres, "_ACCESS", (server.data / "pg_hba.conf").read_text())
        with in_use(new_layout):
            assert query(new_layout, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == "True"
            query(
                new_layout,
                """CREATE SCHEMA "White Star"; CREATE TABLE "White Star"."A b" (id serial);
                CREATE TABLE people (id bigint GENERATED ALWAYS AS IDENTITY, born date) PARTITION BY RANGE (id);
                CREATE TABLE people_1 PARTITION OF people FOR VALUES FROM (0) TO (10);
                CREATE VIEW names AS SELECT * FROM people; INSERT INTO people (born) VALUES ('1890-01-01')""",
            )

    for _start in range(2):
        with in_use(new_layout):
            assert query(new_layout, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == "False"
            assert query(new_layout, "SELECT count(*) FROM names") == "1"
            assert query(new_layout, "SELECT datdba::regrole FROM pg_database WHERE datname = 'titanic'") == "titanic"
            owned_by_others = "SELECT count(*) FROM pg_class WHERE relowner <> 'titanic'::regrole AND relnamespace IN ("
            owned_by_others += "'public'::regnamespace, '\"White Star\"'::regnamespace)"
            assert query(new_layout, owned_by_others) == "0"
            query(
                new_layout,
                """ALTER TABLE people ADD age int; INSERT INTO people (born) VALUES (NULL);
                CREATE TABLE people_2 PARTITION OF people FOR VALUES FROM (10) TO (20); DROP TABLE people_2;
                ALTER TABLE people DROP age; DELETE FROM people WHERE born IS NULL;
                INSERT INTO "White Star"."A b" DEFAULT VALUES""",
            )


def test_a_database_half_made_is_made_again(new_layout: Layout) -> None:
    command = [sys.executable, "-c", USER, str(new_layout.home)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=Path(__file__).parents[2])
    assert _soon(lambda: any((new_layout.root / "postgres").glob("initdb-*/base")))
    process.kill()
    process.wait()

    with in_use(new_layout):
        assert query(new_layout, "SELECT 1") == "1"
        assert not list((new_layout.root / "postgres").glob("initdb-*"))


def test_of_four_users_at_once_all_get_the_same_server(
    layout: Layout, user: Callable[[], subprocess.Popen[str]]
) -> None:
    users = [user() for _ in range(4)]

    pids = {process.stdout.readline() for process in users if process.stdout}

    assert len(pids) == 1
    assert pids.pop().strip().isdigit()


def test_the_last_user_out_stops_the_servers(layout: Layout, user: Callable[[], subprocess.Popen[str]]) -> None:
    other = user()
    assert other.stdout
    other.stdout.readline()
    with in_use(layout):
        pid = _postgres_pid(layout)
    assert _is_running(layout)
    assert _postgres_pid(layout) == pid

    other.communicate("")

    assert not _is_running(layout)


def test_the_servers_stop_when_their_only_user_is_killed(
    layout: Layout, user: Callable[[], subprocess.Popen[str]]
) -> None:
    only = user()
    assert only.stdout
    only.stdout.readline()

    only.kill()

    assert _soon(lambda: not _is_running(layout))
    assert not (layout.root / "postgres/data/postmaster.pid").exists()


@pytest.mark.parametrize("name", ["d" * 120, "with space, 100% é?"])
def test_any_home_will_do(new_layout: Layout, name: str) -> None:
    layout = Layout(new_layout.home / name)

    with in_use(layout), valkey(layout) as client:
        assert len(str(layout.sockets)) < 60
        assert dj_database_url.parse(layout.database_url)["HOST"] == str(layout.sockets / "postgres")
        assert query(layout, "SELECT 1") == "1"
        assert client.ping()

    shutil.rmtree(layout.sockets)


def test_a_message_goes_through_the_broker_url(layout: Layout) -> None:

    with in_use(layout), Connection(broker_url(layout.redis_url)) as connection:
        queue = connection.SimpleQueue("test")
        queue.put({"one": 1})

        assert queue.get(timeout=5).payload == {"one": 1}
        queue.close()


def test_two_names_of_one_home_are_one_installation(new_layout: Layout) -> None:
    link = new_layout.home.with_name(f"{new_layout.home.name}-link")
    link.symlink_to(new_layout.home)

    assert Layout(link).database_url == new_layout.database_url
    link.unlink()


def test_it_refuses_a_home_it_cannot_write_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with (
        pytest.raises(EmbeddedError, match="Set TITANIC_HOME to a directory of yours"),
        in_use(Layout(tmp_path / "file/home")),
    ):
        pytest.fail("there is nothing to use")


def test_it_refuses_a_socket_directory_that_is_not_private(tmp_path: Path) -> None:
    layout = Layout(tmp_path / ("d" * 120))
    layout.sockets.symlink_to(tmp_path)

    with pytest.raises(EmbeddedError, match="not a private directory"), in_use(layout):
        pytest.fail("somebody else's directory was trusted")

    layout.sockets.unlink()


def test_a_server_that_cannot_start_says_why_and_where_its_log_is(new_layout: Layout) -> None:
    with in_use(new_layout):
        pass
    version = new_layout.root / "postgres/data/PG_VERSION"
    version.write_text("9.6\n")

    with pytest.raises(EmbeddedError) as refusal, in_use(new_layout):
        pytest.fail("it started on files of another version")

    assert "was written by 9.6: back up with the version" in str(refusal.value)
    assert str(new_layout.root / "logs/postgres.log") in str(refusal.value)
    assert "DATABASE_URL" in str(refusal.value)
    assert not _is_running(new_layout)


def test_the_urls_are_known_before_anything_runs(tmp_path: Path) -> None:
    layout = embedded.Layout(tmp_path / "home")

    assert layout.database_url
    assert layout.redis_url
    assert not layout.home.exists()
