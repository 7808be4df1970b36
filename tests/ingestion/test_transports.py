"""Transports: how a table is fetched, and the one sentence for each way that fails."""

import base64
import fcntl
import io
import json
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import google_crc32c
import psycopg2
import pytest
import trustme
from django.conf import settings
from django.db import connection
from google.cloud import storage

from core import http_errors
from ingestion import transports
from ingestion.transports import RemoteObject, SourceError, bucket, local, postgres, transfer, web
from ingestion.transports.transfer import BoundedWriter
from tests.home import HOME, superuser
from tests.servers import Answer, Server, drip, hang, hang_after, reply, serving
from titanic_site.runtime.postgres import Postgres
from titanic_site.runtime.server import take_lock

BODY = b"PassengerId,Name\n" + b"1,Elisabeth\n" * 20_000
HALF = len(BODY) // 2
POSTGRES = HOME / "postgres"
_NOT_A_FILE = "is not a file path"


class Cancelled(Exception):
    """What a caller's report raises to stop."""


def fetched(remote: RemoteObject, **reach: bool) -> tuple[str, bytes, list[int]]:
    """Version, content and the reports of one fetch."""
    into, reports = io.BytesIO(), []
    version = transports.fetch(remote, into, report=reports.append, **reach)
    return version, into.getvalue(), reports


def refusal(action: Callable[[], object]) -> str:
    """The sentence with which it is refused; one sentence on the wrong and one on the next step at most."""
    with pytest.raises(SourceError) as raised:
        action()

    message = str(raised.value.message)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def cancel(byte_count: int) -> None:
    raise Cancelled


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_errors, "TIMEOUT", (1.0, 1.0))
    monkeypatch.setattr(web, "RETRY_DELAYS", (0.0, 0.0, 0.0))


class TestAddresses:
    """Which transport, and what people see."""

    @pytest.mark.parametrize(
        ("uri", "seen"),
        [
            ("postgresql://ann:secret@db:5432/ship#a", "postgresql://ann@db:5432/ship#a"),
            ("postgresql://ann:se/cr@et@db/ship#a", "postgresql://ann@db/ship#a"),
            ("postgresql://:secret@db/ship#a", "postgresql://@db/ship#a"),
            ("postgresql://db/ship?user=ann&password=secret#a", "postgresql://db/ship?user=ann&password=…#a"),
            ("postgresql://ann:[secret@db/ship", "postgresql://ann@db/ship"),
            ("https://ann:secret@host/a.csv", "https://ann@host/a.csv"),
            ("https://host:8443/a@b.csv", "https://host:8443/a@b.csv"),
            ("gs://ship/a:b@c.csv", "gs://ship/a:b@c.csv"),
            ("sample.csv", "sample.csv"),
        ],
    )
    def test_a_password_is_never_shown(self, uri: str, seen: str) -> None:
        assert transports.redact(uri) == seen

    @pytest.mark.parametrize("uri", ["ftp://host/a.csv", "http://host/a.csv", "s3://ship/a.csv"])
    def test_an_unknown_scheme_is_refused_with_those_there_are(self, uri: str) -> None:
        message = refusal(lambda: transports.check(uri))

        assert message == f"“{uri}” is no address this system reads: give gs://…, https://…, or a file in the inbox."

    def test_a_file_scheme_is_refused_with_the_remedy(self) -> None:
        message = refusal(lambda: transports.check("file:///etc/passwd", any_file=True))

        assert message == "Name a file by its path alone, without file://."

    def test_a_refused_address_belongs_to_its_field(self) -> None:
        with pytest.raises(SourceError) as raised:
            transports.check("ftp://host")

        assert (raised.value.code, raised.value.field) == ("source", "uri")


class TestLocal:
    """Files on this machine."""

    def test_it_works(self, sample_path: Path) -> None:
        (remote,) = transports.stat(str(sample_path))

        version, content, reports = fetched(remote)

        status = sample_path.stat()
        assert remote == RemoteObject(str(sample_path), f"{status.st_mtime_ns}-{status.st_size}", status.st_size)
        assert (version, content) == (remote.version, sample_path.read_bytes())
        assert reports[-1] == status.st_size

    def test_a_name_means_the_inbox_unless_a_command_says_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        local.inbox().mkdir(parents=True, exist_ok=True)
        for folder in (tmp_path, local.inbox()):
            (folder / "where.csv").write_text(str(folder))

        seen = [transports.stat("where.csv", any_file=any_file)[0].uri for any_file in (False, True)]

        assert seen == [str(local.inbox().resolve() / "where.csv"), str(tmp_path.resolve() / "where.csv")]

    @pytest.mark.parametrize("uri", ["/etc/passwd", "../credentials.json", "/", "~/a.csv/../../../etc/passwd"])
    def test_only_commands_name_files_elsewhere(self, uri: str) -> None:
        message = refusal(lambda: transports.check(uri))

        assert message == (
            f"{uri} is outside the allowed folder. Put the file into {local.inbox().resolve()}, or upload it."
        )

    def test_a_link_out_of_the_inbox_is_not_followed(self, sample_path: Path) -> None:
        local.inbox().mkdir(parents=True, exist_ok=True)
        link = local.inbox() / "way-out.csv"
        link.unlink(missing_ok=True)
        link.symlink_to(Path(settings.BASE_DIR) / "pyproject.toml")

        assert "outside the allowed folder" in refusal(lambda: transports.stat("way-out.csv"))
        assert "outside" in refusal(lambda: fetched(RemoteObject(str(link), "", None)))

    @pytest.mark.parametrize("uri", ["a\0b", "\ud800.csv"])
    @pytest.mark.parametrize("any_file", [False, True])
    def test_what_is_no_path_is_refused(self, uri: str, any_file: bool) -> None:
        message = refusal(lambda: transports.stat(uri, any_file=any_file))

        assert _NOT_A_FILE in message or "cannot be read" in message or "no file" in message
        message.encode()

    def test_the_configured_source_may_be_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "table.csv"
        file.write_bytes(BODY)
        assert "outside" in refusal(lambda: transports.check(str(file)))
        monkeypatch.setattr(settings, "SOURCE_URI", str(file))

        assert fetched(transports.stat(str(file))[0])[1] == BODY

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        message = refusal(lambda: transports.stat(str(tmp_path / "none.csv"), any_file=True))

        assert message == f"There is no file at {tmp_path / 'none.csv'}."

    def test_a_file_removed_since_the_look_is_named(self, tmp_path: Path) -> None:
        message = refusal(lambda: fetched(RemoteObject(str(tmp_path / "none.csv"), "", None), any_file=True))

        assert message == f"There is no file at {tmp_path / 'none.csv'}."

    def test_a_name_the_system_does_not_take_says_why(self, tmp_path: Path) -> None:
        uri = str(tmp_path / ("a" * 300))

        assert refusal(lambda: transports.stat(uri, any_file=True)) == f"{uri} cannot be read: File name too long."

    @pytest.mark.parametrize("change", ["append", "overwrite"])
    def test_a_file_that_changes_meanwhile_is_left_for_the_next_look(self, tmp_path: Path, change: str) -> None:
        file = tmp_path / "table.csv"
        file.write_bytes(BODY)
        (remote,) = transports.stat(str(file), any_file=True)

        def write_meanwhile(byte_count: int) -> None:
            with file.open("ab" if change == "append" else "r+b") as writer:
                writer.write(b"2,James\n")

        message = refusal(lambda: transports.fetch(remote, io.BytesIO(), report=write_meanwhile, any_file=True))

        assert message == f"{file} changed while it was read. The next check takes it."

    def test_a_file_replaced_meanwhile_is_read_as_it_was(self, tmp_path: Path) -> None:
        file, other, into = tmp_path / "table.csv", tmp_path / "other.csv", io.BytesIO()
        file.write_bytes(BODY)
        other.write_bytes(b"other")
        (remote,) = transports.stat(str(file), any_file=True)

        version = transports.fetch(
            remote, into, report=lambda _count: other.exists() and other.rename(file), any_file=True
        )

        assert (version, into.getvalue()) == (remote.version, BODY)

    def test_a_version_newer_than_the_look_is_told(self, tmp_path: Path) -> None:
        file = tmp_path / "table.csv"
        file.write_bytes(b"old")
        (remote,) = transports.stat(str(file), any_file=True)
        file.write_bytes(BODY)

        assert fetched(remote, any_file=True)[0] == transports.stat(str(file), any_file=True)[0].version

    def test_a_cancel_goes_through(self, sample_path: Path) -> None:
        with pytest.raises(Cancelled):
            transports.fetch(transports.stat(str(sample_path))[0], io.BytesIO(), report=cancel)

    def test_a_full_disk_is_not_the_sources_fault(self, sample_path: Path) -> None:
        with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OSError, match="No space left"):
            transports.fetch(transports.stat(str(sample_path))[0], full, report=lambda _count: None)

    def test_what_is_too_large_is_refused(self, sample_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transfer, "LARGEST_SOURCE", 2048)

        message = refusal(lambda: fetched(transports.stat(str(sample_path))[0]))

        assert message == f"{sample_path} is larger than 2.0\xa0KB. Split it into smaller tables."

    def test_reports_come_a_few_times_a_second_and_at_the_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reports: list[int] = []
        writer = BoundedWriter(io.BytesIO(), reports.append, uri="a")

        for _block in range(1000):
            writer.write(b"x")
        writer.finish()

        assert (reports[0], reports[-1]) == (1, 1000)
        assert len(reports) < 10


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server in the place of Google's that answers as told."""
    with serving() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.address)
        yield server


def crc32c(body: bytes) -> str:
    return base64.b64encode(google_crc32c.Checksum(body).digest()).decode()


def metadata(body: bytes = BODY, *, name: str = "a.csv", generation: int = 17, **changes: Any) -> Answer:
    """What Google tells about an object."""
    answer_body = {
        "name": name, "bucket": "ship", "generation": str(generation), "size": str(len(body)),
        "crc32c": crc32c(body), "updated": "2026-11-23T12:00:00.000Z", **changes,
    }  # fmt: skip
    return reply(200, json.dumps(answer_body).encode(), Content_Type="application/json")


class TestBucket:
    """Objects in a bucket: the emulator where it can, and a server that fails where it cannot."""

    def test_it_works(self, ship: storage.Bucket) -> None:
        ship.blob("tables/a.csv").upload_from_string(BODY)
        (remote,) = transports.stat("gs://ship/tables/a.csv")

        version, content, reports = fetched(remote)

        blob = ship.get_blob("tables/a.csv")
        assert remote == RemoteObject("gs://ship/tables/a.csv", f"generation {blob.generation}", len(BODY))
        assert (version, content, reports[-1]) == (remote.version, BODY, len(BODY))

    def test_a_prefix_finds_all_that_begin_so_oldest_change_first(self, ship: storage.Bucket) -> None:
        for name in ("in/b.csv", "in/a.csv", "in/", "out/c.csv"):
            ship.blob(name).upload_from_string(name)

        remote = transports.stat("gs://ship/in/*")

        assert [each.uri for each in remote] == ["gs://ship/in/b.csv", "gs://ship/in/a.csv"]
        assert [fetched(each)[1] for each in remote] == [b"in/b.csv", b"in/a.csv"]

    @pytest.mark.parametrize("name", ["a b#c?d.csv", "año/tabla.csv", "a%2Fb.csv"])
    def test_a_name_is_taken_as_it_is(self, ship: storage.Bucket, name: str) -> None:
        ship.blob(name).upload_from_string(BODY)

        assert fetched(transports.stat(f"gs://ship/{name}")[0])[1] == BODY

    @pytest.mark.parametrize("uri", ["gs://ship/none.csv", "gs://ship/none*", "gs://none/a.csv"])
    def test_nothing_there_is_said(self, ship: storage.Bucket, uri: str) -> None:
        message = refusal(lambda: transports.stat(uri))

        assert message == f"There is no object at {uri}, or no such bucket. Check bucket and name."

    @pytest.mark.parametrize(
        "uri", ["gs://ship", "gs://ship/", "gs:///a.csv", "gs://ship/a/", "gs://ship/*/a", "gs://a b/c"]
    )
    def test_what_names_no_object_is_refused(self, uri: str) -> None:
        message = refusal(lambda: transports.check(uri))

        assert message == (
            f"“{uri}” names no object: give gs://bucket/object, or gs://bucket/prefix* for all that begin so."
        )

    def test_an_object_gone_since_the_look_is_said(self, ship: storage.Bucket) -> None:
        ship.blob("a.csv").upload_from_string(BODY)
        (remote,) = transports.stat("gs://ship/a.csv")
        ship.blob("a.csv").delete()

        message = refusal(lambda: fetched(remote))

        assert message == "gs://ship/a.csv was removed or replaced meanwhile. The next check takes it."

    def test_the_generation_that_was_found_is_the_one_that_comes(self, google: Server) -> None:
        google.answers = [metadata(), reply(200, BODY)]

        version, content, _reports = fetched(RemoteObject("gs://ship/a.csv", "generation 17", len(BODY)))

        generations = [parse_qs(urlsplit(path).query)["generation"] for _method, path, _headers in google.asked]
        assert (version, content, generations) == ("generation 17", BODY, [["17"], ["17"]])

    def test_a_packed_object_arrives_packed(self, google: Server) -> None:
        google.answers = [metadata(b"\x1f\x8bpacked"), reply(200, b"\x1f\x8bpacked", Content_Encoding="gzip")]

        assert fetched(RemoteObject("gs://ship/a.csv", "generation 17", None))[1] == b"\x1f\x8bpacked"

    def test_a_broken_transfer_resumes(self, google: Server) -> None:
        part = reply(206, BODY[HALF:], Content_Range=f"bytes {HALF}-{len(BODY) - 1}/{len(BODY)}")
        google.answers = [metadata(), reply(200, BODY[:HALF], length=len(BODY)), part]

        version, content, _reports = fetched(RemoteObject("gs://ship/a.csv", "generation 17", None))

        assert (version, content) == ("generation 17", BODY)
        assert google.asked[-1][2]["Range"] == f"bytes={HALF}-"

    def test_a_transfer_may_break_off_however_long_it_took(
        self, google: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bucket, "DEADLINE_SECONDS", 0.3)
        part = reply(206, BODY[4:], Content_Range=f"bytes 4-{len(BODY) - 1}/{len(BODY)}")
        google.answers = [metadata(), drip(BODY[:4], seconds=0.1, length=len(BODY)), part]

        assert fetched(RemoteObject("gs://ship/a.csv", "generation 17", None))[1] == BODY

    def test_damage_in_a_resumed_transfer_is_noticed_and_it_starts_over(self, google: Server) -> None:
        part = reply(206, b"x" * (len(BODY) - HALF), Content_Range=f"bytes {HALF}-{len(BODY) - 1}/{len(BODY)}")
        google.answers = [metadata(), reply(200, BODY[:HALF], length=len(BODY)), part, reply(200, BODY)]

        assert fetched(RemoteObject("gs://ship/a.csv", "generation 17", None))[1] == BODY

    def test_an_object_damaged_twice_is_refused(self, google: Server) -> None:
        google.answers = [metadata(), reply(200, b"x" * len(BODY))]

        message = refusal(lambda: fetched(RemoteObject("gs://ship/a.csv", "generation 17", None)))

        assert message == (
            "gs://ship/a.csv arrived damaged twice: its checksum differs. Start again, or upload the object again."
        )

    def test_a_passing_fault_is_tried_again(self, google: Server) -> None:
        google.answers = [reply(503), metadata()]

        assert transports.stat("gs://ship/a.csv")[0].version == "generation 17"

    def test_a_lasting_fault_ends_with_a_sentence(self, google: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bucket, "DEADLINE_SECONDS", 0.1)
        google.answers = [reply(503)]

        message = refusal(lambda: transports.stat("gs://ship/a.csv"))

        assert message == "Google Cloud Storage answers 503 for gs://ship/a.csv. Try again later."

    @pytest.mark.parametrize("uri", ["gs://ship/a.csv", "gs://ship/a*"])
    def test_a_lack_of_rights_is_said(self, google: Server, uri: str) -> None:
        google.answers = [reply(403)]

        message = refusal(lambda: transports.stat(uri))

        assert message == f"Google Cloud does not show {uri} to these credentials. Grant them “Storage Object Viewer”."

    def test_a_refused_login_is_said(self, google: Server) -> None:
        google.answers = [reply(401)]

        message = refusal(lambda: fetched(RemoteObject("gs://ship/a.csv", "", None)))

        assert message.startswith("There are no usable Google Cloud credentials: ")

    def test_a_missing_bucket_is_said_for_a_prefix(self, google: Server) -> None:
        google.answers = [reply(404)]

        assert "no such bucket" in refusal(lambda: transports.stat("gs://none/a*"))

    @pytest.mark.parametrize("answer", [hang, hang_after(b"x")])
    def test_a_hung_server_ends(self, google: Server, monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
        monkeypatch.setattr(bucket, "DEADLINE_SECONDS", 0.1)
        monkeypatch.setattr(http_errors, "TIMEOUT", (0.2, 0.2))
        google.answers = [metadata(), answer]

        message = refusal(lambda: fetched(RemoteObject("gs://ship/a.csv", "generation 17", None)))

        assert (
            message == "gs://ship/a.csv cannot be reached: it does not answer in time. Check the network and try again."
        )

    def test_no_server_ends_with_a_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bucket, "DEADLINE_SECONDS", 0.1)
        with socket.create_server(("127.0.0.1", 0)) as free:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{free.getsockname()[1]}")

        message = refusal(lambda: transports.stat("gs://ship/a.csv"))

        assert message == "gs://ship/a.csv cannot be reached: no server answers there. Check the network and try again."

    @pytest.mark.parametrize("content", [None, "", '{"type": "service_account"}'])
    def test_bad_credentials_are_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
    ) -> None:
        file = tmp_path / "key.json"
        if content is not None:
            file.write_text(content)
        monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))

        message = refusal(lambda: transports.stat("gs://ship/a.csv"))

        assert message.startswith("There are no usable Google Cloud credentials: ")
        assert message.endswith(". Set GOOGLE_APPLICATION_CREDENTIALS.")
        assert str(file) in message

    def test_missing_credentials_are_said(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
        monkeypatch.setenv("NO_GCE_CHECK", "true")

        assert refusal(lambda: transports.stat("gs://ship/a.csv")) == (
            "There are no usable Google Cloud credentials: Your default credentials were not found. "
            "Set GOOGLE_APPLICATION_CREDENTIALS."
        )

    def test_what_is_too_large_is_not_fetched(self, google: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transfer, "LARGEST_SOURCE", 2048)
        google.answers = [metadata()]

        message = refusal(lambda: fetched(RemoteObject("gs://ship/a.csv", "generation 17", None)))

        assert message == "gs://ship/a.csv is larger than 2.0\xa0KB. Split it into smaller tables."
        assert len(google.asked) == 1

    def test_a_cancel_goes_through(self, ship: storage.Bucket) -> None:
        ship.blob("a.csv").upload_from_string(BODY)

        with pytest.raises(Cancelled):
            transports.fetch(transports.stat("gs://ship/a.csv")[0], io.BytesIO(), report=cancel)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def _trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))


@pytest.fixture
def host(authority: trustme.CA, _trusted: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An https server on this machine, which alone may be asked although it is not public."""
    monkeypatch.setattr(web, "EXEMPT_ADDRESSES", frozenset({"127.0.0.1"}))
    with serving(authority=authority) as server:
        yield server


def at(server: Server) -> RemoteObject:
    return RemoteObject(f"{server.address}/a.csv", "", None)


def part_from(start: int, **headers: str) -> Answer:
    return reply(206, BODY[start:], Content_Range=f"bytes {start}-{len(BODY) - 1}/{len(BODY)}", **headers)


class TestWeb:
    """Files behind https, on a real server with a real certificate."""

    def test_it_works(self, host: Server) -> None:
        host.answers = [reply(200, BODY, ETag='"one"')]
        (remote,) = transports.stat(f"{host.address}/a.csv")

        version, content, reports = fetched(remote)

        assert remote == RemoteObject(f"{host.address}/a.csv", '"one"', len(BODY))
        assert (version, content, reports[-1]) == ('"one"', BODY, len(BODY))
        assert host.methods == ["HEAD", "GET"]
        assert host.asked[-1][2]["Accept-Encoding"] == "identity"

    @pytest.mark.parametrize(
        ("headers", "version"),
        [
            ({"ETag": 'W/"weak"', "Last_Modified": "Mon, 23 Nov 2026 12:00:00 GMT"}, 'W/"weak"'),
            ({"Last_Modified": "Mon, 23 Nov 2026 12:00:00 GMT"}, "Last-Modified Mon, 23 Nov 2026 12:00:00 GMT"),
            ({}, ""),
        ],
    )
    def test_the_version_is_the_etag_or_the_time_of_change(
        self, host: Server, headers: dict[str, str], version: str
    ) -> None:
        host.answers = [reply(200, BODY, **headers)]

        assert transports.stat(at(host).uri)[0].version == fetched(at(host))[0] == version

    @pytest.mark.parametrize("status", [403, 405, 501])
    def test_a_server_without_head_is_asked_by_get(self, host: Server, status: int) -> None:
        host.answers = [reply(status), reply(200, BODY, ETag='"one"')]

        (remote,) = transports.stat(at(host).uri)

        assert (remote.version, remote.byte_count, host.methods) == ('"one"', len(BODY), ["HEAD", "GET"])

    def test_a_broken_transfer_resumes(self, host: Server) -> None:
        host.answers = [reply(200, BODY[:HALF], length=len(BODY), ETag='"one"'), part_from(HALF, ETag='"one"')]

        version, content, reports = fetched(at(host))

        assert (version, content, reports[-1]) == ('"one"', BODY, len(BODY))
        headers = host.asked[-1][2]
        assert (headers["Range"], headers["If-Range"]) == (f"bytes={HALF}-", '"one"')

    def test_it_resumes_after_a_passing_fault_too(self, host: Server) -> None:
        broken = reply(200, BODY[:HALF], length=len(BODY), ETag='"one"')
        host.answers = [broken, reply(503), part_from(HALF)]

        assert fetched(at(host))[:2] == ('"one"', BODY)

    def test_a_part_of_another_version_is_not_taken(self, host: Server) -> None:
        broken = reply(200, b"x" * HALF, length=len(BODY), ETag='"one"')
        host.answers = [broken, part_from(HALF, ETag='"two"'), reply(200, BODY, ETag='"two"')]

        assert fetched(at(host))[:2] == ('"two"', BODY)

    def test_it_starts_over_when_the_range_is_ignored(self, host: Server) -> None:
        host.answers = [reply(200, b"x" * HALF, length=len(BODY), ETag='"one"'), reply(200, BODY, ETag='"two"')]

        version, content, _reports = fetched(at(host))

        assert (version, content) == ('"two"', BODY)

    def test_a_part_that_begins_elsewhere_is_not_taken(self, host: Server) -> None:
        broken = reply(200, BODY[:HALF], length=len(BODY), ETag='"one"')
        host.answers = [broken, part_from(HALF - 1, ETag='"one"'), reply(200, BODY, ETag='"one"')]

        assert fetched(at(host))[1] == BODY
        assert "Range" not in host.asked[-1][2]

    @pytest.mark.parametrize("etag", ["", 'W/"weak"'])
    def test_it_starts_over_without_a_strong_etag(self, host: Server, etag: str) -> None:
        host.answers = [reply(200, b"x" * HALF, length=len(BODY), ETag=etag), reply(200, BODY, ETag=etag)]

        assert fetched(at(host))[1] == BODY
        assert "Range" not in host.asked[-1][2]

    def test_a_range_that_is_refused_starts_over(self, host: Server) -> None:
        broken = reply(200, BODY[:HALF], length=len(BODY), ETag='"one"')
        host.answers = [broken, reply(416), reply(200, BODY, ETag='"one"')]

        assert fetched(at(host))[1] == BODY

    def test_a_broken_chunk_is_noticed(self, host: Server) -> None:
        def broken(handler: Any) -> None:
            handler.begin(200, length=0, Content_Length="", Transfer_Encoding="chunked")
            handler.wfile.write(b"ff\r\nhalf")

        host.answers = [broken, reply(200, BODY)]

        assert fetched(at(host))[1] == BODY

    def test_a_server_that_lies_about_the_length_is_given_up_after_four_tries(self, host: Server) -> None:
        host.answers = [reply(200, BODY, length=len(BODY) + 1)]

        message = refusal(lambda: fetched(at(host)))

        assert message == (
            f"{at(host).uri} cannot be fetched: the connection broke off. Check the address and the network."
        )
        assert host.methods == ["GET"] * 4

    def test_a_passing_fault_is_tried_again(self, host: Server) -> None:
        host.answers = [reply(500), reply(429), reply(200, BODY)]

        assert fetched(at(host))[1] == BODY

    def test_a_lasting_fault_ends_with_a_sentence(self, host: Server) -> None:
        host.answers = [reply(500)]

        messages = {refusal(lambda: transports.stat(at(host).uri)), refusal(lambda: fetched(at(host)))}

        assert messages == {f"The server answers 500 for {at(host).uri}. Try again later."}

    @pytest.mark.parametrize("status", [404, 410])
    def test_nothing_there_is_said(self, host: Server, status: int) -> None:
        host.answers = [reply(status)]

        messages = {refusal(lambda: transports.stat(at(host).uri)), refusal(lambda: fetched(at(host)))}

        assert messages == {f"There is nothing at {at(host).uri}. Check the address."}

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_lack_of_rights_is_said(self, host: Server, status: int) -> None:
        host.answers = [reply(status)]

        assert refusal(lambda: fetched(at(host))) == (
            f"The server does not show {at(host).uri} to this system. Give an address that needs no login, or upload."
        )
        assert host.methods == ["GET"]

    @pytest.mark.parametrize("answer", [hang, hang_after(b"x")])
    def test_a_hung_server_ends(self, host: Server, monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
        monkeypatch.setattr(http_errors, "TIMEOUT", (0.2, 0.2))
        host.answers = [answer]

        assert refusal(lambda: fetched(at(host))) == (
            f"{at(host).uri} cannot be fetched: it does not answer in time. Check the address and the network."
        )

    def test_a_length_that_is_no_number_is_not_believed(self, host: Server) -> None:
        host.answers = [reply(200, BODY, Content_Length="9" * 5000)]

        assert transports.stat(at(host).uri)[0].byte_count is None

    def test_slow_drops_arrive(self, host: Server) -> None:
        host.answers = [drip(b"a,b\n1,2\n", seconds=0.01)]

        assert fetched(at(host))[1] == b"a,b\n1,2\n"

    def test_drops_without_end_are_given_up(self, host: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(web, "MAX_DOWNLOAD_SECONDS", 0.1)
        host.answers = [drip(BODY, seconds=0.02)]

        message = refusal(lambda: fetched(at(host)))

        assert message == f"{at(host).uri} comes too slowly. Fetch it by hand and upload it."

    @pytest.mark.parametrize("length", [5000, None])
    def test_what_is_too_large_is_refused(
        self, host: Server, monkeypatch: pytest.MonkeyPatch, length: int | None
    ) -> None:
        monkeypatch.setattr(transfer, "LARGEST_SOURCE", 2048)
        headers = {} if length else {"Content_Length": ""}
        host.answers = [reply(200, BODY, length=length, **headers)]

        message = refusal(lambda: fetched(at(host)))

        assert message == f"{at(host).uri} is larger than 2.0\xa0KB. Split it into smaller tables."

    def test_a_cancel_goes_through(self, host: Server) -> None:
        host.answers = [reply(200, BODY)]

        with pytest.raises(Cancelled):
            transports.fetch(at(host), io.BytesIO(), report=cancel)

    def test_a_redirect_is_followed(self, host: Server) -> None:
        host.answers = [reply(302, Location="/b.csv"), reply(200, BODY, ETag='"one"')]

        assert fetched(at(host))[1] == BODY
        assert [path for _method, path, _headers in host.asked] == ["/a.csv", "/b.csv"]

    def test_the_body_of_a_redirect_is_not_read(self, host: Server) -> None:
        def endless(handler: Any) -> None:
            handler.begin(302, length=10**12, Location="/b.csv")
            hang(handler)

        host.answers = [endless, reply(200, BODY)]

        assert fetched(at(host))[1] == BODY
        assert len(host.asked) == 2

    def test_redirects_without_end_are_given_up(self, host: Server) -> None:
        host.answers = [reply(302, Location="/a.csv")]

        message = refusal(lambda: fetched(at(host)))

        assert message == "The server redirects more than 5 times. Give the final address."
        assert len(host.asked) == 6

    @pytest.mark.parametrize(
        "target", ["http://example.org/a.csv", "file:///etc/passwd", "gopher://example.org", "https://[::1/"]
    )
    def test_a_redirect_away_from_https_is_refused(self, host: Server, target: str) -> None:
        host.answers = [reply(302, Location=target)]

        message = refusal(lambda: fetched(at(host)))

        assert message == "The server redirects to an address that is not https. Give the final https:// address."

    @pytest.mark.parametrize(
        "target", ["https://10.0.0.1/a.csv", "https://127.0.0.2/", "https://[::1]/", "//169.254.169.254/latest"]
    )
    def test_a_redirect_into_a_private_network_is_refused(self, host: Server, target: str) -> None:
        host.answers = [reply(302, Location=target)]

        message = refusal(lambda: fetched(at(host)))

        assert message.endswith(
            " leads to a private or local address, which is not fetched. Use the inbox or an upload."
        )

    def test_a_redirect_with_a_password_is_refused(self, host: Server) -> None:
        host.answers = [reply(302, Location="https://ann:secret@127.0.0.1/")]

        assert "secret" not in refusal(lambda: fetched(at(host)))

    def test_a_proxy_of_the_environment_is_not_asked(self, host: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        host.answers = [reply(200, BODY)]
        with serving() as proxy:
            proxy.answers = [reply(200, b"proxy")]
            monkeypatch.setenv("HTTPS_PROXY", proxy.address)
            monkeypatch.setenv("ALL_PROXY", proxy.address)

            assert (fetched(at(host))[1], proxy.asked) == (BODY, [])

    def test_a_certificate_of_an_unknown_authority_is_refused(
        self, host: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")

        assert refusal(lambda: fetched(at(host))) == (
            f"There is no secure connection to {at(host).uri}: its certificate is not valid. Check the address."
        )

    def test_a_certificate_for_another_name_is_refused(self, host: Server, authority: trustme.CA) -> None:
        with serving(authority=authority, name="example.org") as other:
            message = refusal(lambda: transports.stat(at(other).uri))

        assert message.endswith(": its certificate is not valid. Check the address.")

    def test_a_server_without_tls_is_refused(self, host: Server) -> None:
        with serving() as plain:
            message = refusal(lambda: transports.stat(at(plain).uri.replace("http:", "https:")))

        assert message.endswith(": it does not speak TLS as it should. Check the address.")

    def test_a_port_without_a_server_is_said(self, host: Server) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            uri = f"https://127.0.0.1:{free.getsockname()[1]}/a.csv"

        assert refusal(lambda: transports.stat(uri)) == (
            f"{uri} cannot be fetched: no server answers there. Check the address and the network."
        )

    def test_a_name_without_a_server_is_said(self) -> None:
        # Too long for DNS, so that nobody is asked.
        uri = f"https://{'.'.join(['a' * 60] * 5)}/"

        assert refusal(lambda: transports.stat(uri)) == (
            f"{uri} cannot be fetched: there is no server of this name. Check the address and the network."
        )

    @pytest.mark.parametrize(
        "name",
        [
            "127.0.0.1", "localhost", "LOCALHOST", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0",
            "10.1.2.3", "172.16.0.1", "172.31.255.254", "192.168.1.1", "169.254.169.254", "100.64.0.1",
            "100.100.100.200", "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
            "[::]", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[::127.0.0.1]", "[fc00::1]",
            "[fd00:ec2::254]", "[fe80::1]", "[fec0::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[ff02::1]",
        ],
    )  # fmt: skip
    def test_no_private_address_is_reached(self, name: str) -> None:
        uri = f"https://{name}/a.csv"

        messages = {refusal(lambda: transports.stat(uri)), refusal(lambda: fetched(RemoteObject(uri, "", None)))}

        assert messages == {
            f"{uri} leads to a private or local address, which is not fetched. Use the inbox or an upload."
        }

    @pytest.mark.parametrize(
        "uri",
        [
            "https://",
            "https:///a.csv",
            "https://host:x/",
            "https://[::1/",
            "https://a..b/",
            "https://a..b:8443/",
            "https://a:0/",
            "https://a\\@b/",
        ],
    )
    def test_what_is_no_address_is_refused(self, uri: str) -> None:
        assert refusal(lambda: transports.check(uri)) == f"“{uri}” is no https address: give https://host/path."

    def test_what_cannot_be_printed_is_refused_and_spelt_out(self) -> None:
        assert "https://host/a\\r\\nHost: b" in refusal(lambda: transports.check("https://host/a\r\nHost: b"))

    @pytest.mark.parametrize("uri", ["https://ann:secret@host/", "https://ann@host/", "https://@host/"])
    def test_a_password_in_the_address_is_refused(self, uri: str) -> None:
        assert refusal(lambda: transports.check(uri)) == (
            "Take user and password out of the address: they are not kept safe there."
        )


@pytest.fixture(scope="module")
def _ship() -> Iterator[str]:
    """A database beside the product's own, with awkward names and values in it."""
    with superuser() as cursor:
        cursor.execute("CREATE DATABASE ship OWNER titanic")
    with closing(psycopg2.connect(host=str(POSTGRES), user="titanic", dbname="ship")) as ship, ship:
        cursor = ship.cursor()
        cursor.execute('CREATE SCHEMA "White-Star"; CREATE TABLE "White-Star"."a.b" (id int, "Name" text)')
        cursor.execute("""CREATE TABLE crew AS SELECT 1 AS id, 'Ann, "año"' AS name UNION ALL SELECT 2, NULL""")
        cursor.execute("CREATE SEQUENCE berths")
    yield f"postgresql://titanic@/ship?host={POSTGRES}&port=5432"
    with superuser() as cursor:
        cursor.execute("DROP DATABASE ship WITH (FORCE)")


@pytest.fixture
def database(_ship: str, db: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of another database: on a server that is not embedded, one of the same cluster may be a source."""
    monkeypatch.setattr(settings, "IS_EMBEDDED", False)
    return _ship


@pytest.fixture
def stranger(database: str) -> Iterator[str]:
    """The address with a user who has to know a password, and may read nothing."""
    rules = POSTGRES / "data/pg_hba.conf"
    with superuser() as cursor:
        cursor.execute("CREATE ROLE stranger LOGIN PASSWORD 'right%'")
        before = rules.read_text()
        rules.write_text(f"local all stranger scram-sha-256\n{before}")
        cursor.execute("SELECT pg_reload_conf()")
    yield database.replace("//titanic@", "//stranger:%s@")
    rules.write_text(before)
    with superuser() as cursor:
        cursor.execute("DROP ROLE stranger; SELECT pg_reload_conf()")


def _open_connections() -> int:
    with superuser() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'titanic-mlops'")
        return int(cursor.fetchone()[0])


def queried(uri: str) -> bytes:
    """What a look at a database and its fetch bring."""
    (remote,) = transports.stat(uri, databases=True)
    return fetched(remote, databases=True)[1]


class TestPostgres:
    """Another database."""

    def test_it_works(self, database: str) -> None:
        uri = f"{database}#crew"
        (remote,) = transports.stat(uri, databases=True)

        version, content, reports = fetched(remote, databases=True)

        assert remote == RemoteObject(uri, "", None)
        assert (version, content) == ("", 'id,name\n1,"Ann, ""año"""\n2,\n'.encode())
        assert reports[-1] == len(content)

    @pytest.mark.parametrize(
        "query",
        [
            "public.crew",
            "SELECT * FROM crew",
            "with a as (select * from crew) select * from a ;",
            "SELECT id, name FROM crew -- all of it",
            "SELECT * FROM crew WHERE name IS NULL OR name LIKE '%a%'",
        ],
    )
    def test_a_table_or_a_query_may_be_asked(self, database: str, query: str) -> None:
        assert queried(f"{database}#{query}").startswith(b"id,name\n1,")

    def test_a_name_is_split_on_the_first_dot_and_quoted(self, database: str) -> None:
        assert queried(f"{database}#White-Star.a.b") == b"id,Name\n"

    def test_pages_and_api_may_name_no_database(self, database: str) -> None:
        for action in (
            lambda: transports.check(f"{database}#crew"),
            lambda: transports.stat(f"{database}#crew"),
            lambda: fetched(RemoteObject(f"{database}#crew", "", None)),
        ):
            assert refusal(action) == (
                "A database is named in the admin, by an administrator, or at the shell: "
                "its address carries a password."
            )

    def test_the_configured_source_may_be_a_database(self, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(settings, "SOURCE_URI", f"{database}#crew")

        assert fetched(transports.stat(f"{database}#crew")[0])[1].startswith(b"id,name\n")

    @pytest.mark.parametrize(
        "query",
        [
            "", " ", "DROP TABLE crew", "UPDATE crew SET id = 3", "crew; DROP TABLE crew", "SELECT 1; DROP TABLE crew",
            "SELECT 1;; ", 'crew"', "SELECT%20*", "a\0b", "SELECT '\0'", "COPY crew TO PROGRAM 'id'",
        ],
    )  # fmt: skip
    def test_what_is_neither_table_nor_query_is_refused(self, query: str) -> None:
        message = refusal(lambda: transports.check(f"postgresql://ann:secret@db/ship#{query}", databases=True))

        assert message == (
            "Name one table, or one SELECT without a semicolon, behind the #, as in "
            "postgresql://user:password@host/database#schema.table."
        )

    @pytest.mark.parametrize(
        "query",
        [
            "WITH gone AS (DELETE FROM crew RETURNING *) SELECT * FROM gone",
            "SELECT * INTO other FROM crew",
            "SELECT 1) TO PROGRAM 'id' --",
            "SELECT 1) AS a, (SELECT 2",
            "SELECT setval('berths', 1)",
            "SELECT set_config('transaction_read_only', 'off', true)",
            "SELECT nothing FROM crew",
        ],
    )
    def test_what_would_change_something_is_refused_by_the_database(self, database: str, query: str) -> None:
        uri = f"{database}#{query}"

        message = refusal(lambda: fetched(RemoteObject(uri, "", None), databases=True))

        assert " rejects the query: " in message
        assert message.endswith(". Correct it.")
        assert queried(f"{database}#SELECT count(*) FROM crew") == b"count\n2\n"

    def test_a_missing_table_is_said_at_the_look(self, database: str) -> None:
        message = refusal(lambda: transports.stat(f"{database}#public.none", databases=True))

        assert 'has no such table: relation "public.none" does not exist. Check schema and name.' in message

    def test_the_right_password_opens(self, stranger: str) -> None:
        assert queried(stranger.replace("%s", "right%25") + "#SELECT 1 AS one") == b"one\n1\n"

    def test_a_wrong_password_is_said_and_not_shown(self, stranger: str) -> None:
        message = refusal(lambda: queried(stranger.replace("%s", "wrong") + "#crew"))

        assert 'rejects the login: password authentication failed for user "stranger".' in message
        assert "wrong" not in message

    def test_a_lack_of_rights_is_said(self, stranger: str) -> None:
        message = refusal(lambda: queried(stranger.replace("%s", "right%25") + "#crew"))

        assert message.endswith("denies access to its user: permission denied for table crew. Grant SELECT.")

    def test_a_password_that_is_part_of_the_reason_is_hidden(self, stranger: str) -> None:
        message = refusal(lambda: queried(stranger.replace("%s", "right%25") + "#SELECT 'right%'::int"))

        assert "right%" not in message

    def test_a_missing_database_is_said(self, database: str) -> None:
        uri = database.replace("/ship?", "/none?") + "#crew"

        message = refusal(lambda: queried(uri))

        assert 'rejects the login: database "none" does not exist. Check user, password and database name.' in message

    def test_a_server_that_is_away_is_said(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]

        message = refusal(lambda: queried(f"postgresql://ann:secret@127.0.0.1:{port}/ship#crew"))

        assert message.startswith("The database 127.0.0.1/ship cannot be reached: ")
        assert message.endswith(". Check host and port.")
        assert "secret" not in message

    def test_a_hung_server_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(postgres, "CONNECT_SECONDS", 2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            message = refusal(lambda: queried(f"postgresql://127.0.0.1:{silent.getsockname()[1]}/ship#crew"))

        assert "timeout expired. Check host and port." in message

    def test_a_query_without_end_is_given_up(self, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(postgres, "STATEMENT_SECONDS", 0.1)

        message = refusal(lambda: fetched(RemoteObject(f"{database}#SELECT pg_sleep(30)", "", None), databases=True))

        assert message.endswith("took too long: canceling statement due to statement timeout. Ask for less.")

    def test_a_connection_that_breaks_off_is_said(self, database: str) -> None:
        uri = f"{database}#SELECT pg_terminate_backend(pg_backend_pid())"

        message = refusal(lambda: fetched(RemoteObject(uri, "", None), databases=True))

        assert " broke off: " in message
        assert message.endswith(". Try again.")

    @pytest.mark.parametrize(
        "place",
        [
            "postgresql://ann:sec/ret@db/ship", "postgresql://ann:secret@[db/ship", "postgresql://ann:secret@db:x/ship",
            "postgresql://ann:secret@db/ship?secret=1", "postgresql://ann:sec%zzret@db/ship", "POSTGRESQL://a:secret@db/ship",
        ],
    )  # fmt: skip
    def test_an_address_that_cannot_be_read_shows_nothing_of_its_password(self, place: str) -> None:
        message = refusal(lambda: transports.check(f"{place}#crew", databases=True))

        assert message == (
            "The database's address cannot be read: write it as postgresql://user:password@host:5432/database#table, "
            "special characters percent-encoded."
        )

    def test_a_cancel_goes_through_and_leaves_no_connection(self, database: str) -> None:
        remote = RemoteObject(f"{database}#SELECT generate_series(1, 1000000)", "", None)

        with pytest.raises(Cancelled):
            transports.fetch(remote, io.BytesIO(), report=cancel, databases=True)

        deadline = monotonic() + 5
        while _open_connections() and monotonic() < deadline:
            sleep(0.01)
        assert _open_connections() == 0

    def test_what_is_too_large_is_refused(self, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(transfer, "LARGEST_SOURCE", 2048)

        message = refusal(lambda: queried(f"{database}#SELECT generate_series(1, 1000000)"))

        assert message.endswith(" is larger than 2.0\xa0KB. Split it into smaller tables.")


@contextmanager
def forwarded() -> Iterator[int]:
    """A port that leads to the cluster's socket, as a proxy's does."""
    with socket.create_server(("127.0.0.1", 0)) as server, closing(socket.socket(socket.AF_UNIX)) as behind:

        def forward() -> None:
            client, _address = server.accept()
            behind.connect(str(POSTGRES / ".s.PGSQL.5432"))
            with client:
                back = threading.Thread(target=_copy, args=(behind, client))
                back.start()
                _copy(client, behind)
                back.join()

        thread = threading.Thread(target=forward)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    while block := source.recv(65536):
        target.sendall(block)
    target.shutdown(socket.SHUT_WR)


class TestOwnDatabase:
    """The product's own database is no source, however it is spelled."""

    @pytest.mark.parametrize("is_embedded", [True, False])
    @pytest.mark.parametrize("spelling", ["socket", "encoded", "link", "proxy", "search path", "service"])
    def test_it_is_refused(
        self, db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_embedded: bool, spelling: str
    ) -> None:
        monkeypatch.setattr(settings, "IS_EMBEDDED", is_embedded)
        name = connection.settings_dict["NAME"]
        (tmp_path / "link").symlink_to(POSTGRES)
        (tmp_path / "services").write_text(f"[ship]\nhost={POSTGRES}\nuser=titanic\ndbname={name}\n")
        monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE FUNCTION pg_control_system(OUT system_identifier bigint) LANGUAGE sql AS 'SELECT 1::bigint'"
            )
        with forwarded() if spelling == "proxy" else nullcontext() as port:
            place = {
                "socket": f"titanic@/{name}?host={POSTGRES}",
                "encoded": f"titanic@{quote(str(POSTGRES), safe='')}/{name}",
                "link": f"titanic@/{name}?host={tmp_path / 'link'}",
                "proxy": f"titanic@localhost:{port}/{name}",
                "search path": f"titanic@/{name}?host={POSTGRES}&options=-csearch_path%3Dpublic,pg_catalog",
                "service": "/?service=ship",
            }[spelling]
            message = refusal(lambda: queried(f"postgresql://{place}#SELECT 1"))

        assert "is this product's own database, which is no source. Name another one." in message

    @pytest.mark.parametrize("name", ["ship", "titanic", "postgres"])
    def test_every_database_of_an_embedded_cluster_is_its_own(
        self, database: str, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setattr(settings, "IS_EMBEDDED", True)

        message = refusal(lambda: queried(database.replace("/ship?", f"/{name}?") + "#SELECT 1"))

        assert "own database" in message

    def test_another_cluster_is_a_source_of_an_embedded_one(self, db: None, tmp_path: Path) -> None:
        folder = Path(tempfile.mkdtemp(prefix="titanic-test-"))
        (folder / "postgres").mkdir()
        other = Postgres(data=folder / "postgres/data", sockets=folder / "postgres", log=folder / "log")
        users = take_lock(folder / "users.lock", fcntl.LOCK_SH)
        assert users is not None
        other.start(users=folder / "users.lock")

        assert queried(f"postgresql://titanic@/titanic?host={folder / 'postgres'}#SELECT 1 AS one") == b"one\n1\n"

        os.close(users)
        while other.is_running():
            sleep(0.02)
        shutil.rmtree(folder)

    def test_one_that_does_not_say_which_it_is_is_refused(self, database: str) -> None:
        with superuser(database="ship") as cursor:
            cursor.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
            message = refusal(lambda: queried(f"{database}#crew"))
            cursor.execute("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")

        assert message.endswith(
            "cannot be told: permission denied for function pg_control_system. Grant EXECUTE on pg_control_system() "
            "to the user here and there."
        )
