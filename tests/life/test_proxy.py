"""The proxy that Compose puts in front of web, with its own configuration and the product behind it."""

import json
import os
import select
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest
import trustme
from django.conf import settings

from tests.people import CAST
from tests.programs import NGINX
from tests.users import make_user
from tests.web import Web, answer, serving
from titanic_site.models import AccessToken
from training.models import ModelVersion

CONFIGURATION = Path(settings.BASE_DIR) / "deploy/nginx"
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(NGINX is None, reason="no nginx on this machine"),
]


@dataclass(frozen=True)
class Proxy:
    """A running proxy: web as it is reached through it, and the port that speaks TLS."""

    web: Web
    tls_port: int
    authority: trustme.CA


@pytest.fixture
def proxy(
    champion: ModelVersion, django_user_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Proxy]:
    monkeypatch.setenv("TRUSTED_PROXIES", "127.0.0.1")
    token = AccessToken.objects.create(django_user_model.objects.get(username="admin"))[1]
    authority = trustme.CA()
    with serving(token, log=tmp_path / "web.log") as web:
        port, tls_port = _free_port(), _free_port()
        command = _command(tmp_path / "nginx", authority, web=web.port, port=port, tls_port=tls_port)
        with (tmp_path / "nginx.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            through = replace(web, port=port)
            deadline = time.monotonic() + 30
            while not through.is_up():
                assert process.poll() is None, (tmp_path / "nginx.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield Proxy(through, tls_port, authority)
        finally:
            process.terminate()
            process.wait(30)


def test_slow_clients_hold_nobody_up_and_are_cut(proxy: Proxy) -> None:
    web, is_over = proxy.web, Event()
    trickling = [web.begin("/api/v1/predictions/", size=500, body=b"{") for _ in range(60)]
    silent = web.begin("/api/v1/predictions/", size=500, body=b"{")
    headless = socket.create_connection(("127.0.0.1", web.port), timeout=60)
    drops = Thread(target=_trickle, args=([*trickling, headless], is_over), daemon=True)
    drops.start()

    with web.client() as client:
        statuses = [client.post("/api/v1/predictions/", json=CAST[0]).status_code for _ in range(20)]
    ends = {answer(talk)[0] for talk in (silent, headless)}
    is_over.set()
    drops.join()

    assert statuses == [201] * 20
    assert ends <= {0, 408}
    # The others have been there all the time.
    assert [talk for talk in trickling if _is_over(talk)] == []


def test_bodies_have_limits_and_an_away_web_is_told(proxy: Proxy) -> None:
    web = proxy.web
    with web.client() as client:
        table = b"pclass,sex\r\n" + b"1,female\r\n" * 1_200_000
        assert client.post("/api/v1/scoring-jobs/", files={"file": ("a.csv", table)}).status_code == 202

        for path, size in (("/api/v1/predictions/", 11 * 1024**2), ("/api/v1/scoring-jobs/", 3 * 1024**3)):
            status, body = answer(web.begin(path, size=size, body=b"{"))
            assert (status, json.loads(body)["errors"][0]["code"]) == (413, "too_large")

        web.terminate()
        web.process.wait(30)
        away = client.post("/api/v1/predictions/", json=CAST[0])
    assert (away.status_code, away.json()["errors"][0]["code"]) == (503, "unavailable")
    assert away.headers["Retry-After"] == "5"


def test_who_floods_the_sign_in_page_is_cut_short_before_web(proxy: Proxy) -> None:
    with proxy.web.client() as client:
        statuses = [client.get(f"/{site}/login/").status_code for _ in range(40) for site in ("accounts", "admin")]
        others = {client.get(path).status_code for path in ("/", "/accounts/password_reset/", "/healthz")}

    assert set(statuses) == {200, 429}
    assert statuses[:20] == [200] * 20
    assert others == {200}


def test_its_log_has_no_query_and_no_way_to_set_a_password(proxy: Proxy, tmp_path: Path) -> None:
    with proxy.web.client() as client:
        for path in ("/predictions/?find=Allen", "/accounts/reset/MQ/token-1/", "/accounts/%72eset/MQ/token-2"):
            client.get(path, headers={"Referer": "https://example.org/?find=Allen"})
        proxy.web.terminate()
        proxy.web.process.wait(30)
        client.get("/predictions/?find=Allen")
        # What was answered before on this connection is written down now.
        client.get("/healthz")

    log = (tmp_path / "nginx.log").read_text()
    assert log.count(" GET /predictions/ ") == 2
    assert log.count(" GET /accounts/reset/*** ") == 2
    assert "Allen" not in log
    assert "token-" not in log


def test_one_signs_in_over_tls(proxy: Proxy, django_user_model: Any) -> None:
    context = ssl.create_default_context()
    proxy.authority.configure_trust(context)
    origin = f"https://127.0.0.1:{proxy.tls_port}"
    make_user("clerk", password="secret")
    form = {"username": "clerk", "password": "secret"}

    with httpx.Client(base_url=origin, verify=context, timeout=30) as browser:
        browser.get("/accounts/login/")
        form["csrfmiddlewaretoken"] = browser.cookies["csrftoken"]
        foreign = browser.post("/accounts/login/", data=form, headers={"Origin": "https://evil.example"})
        signed_in = browser.post("/accounts/login/", data=form, headers={"Origin": origin})
        started = browser.post("/api/v1/drift-checks/", headers=proxy.web.headers)
    led = httpx.get(f"http://127.0.0.1:{proxy.tls_port}/?q=1")

    assert (foreign.status_code, signed_in.status_code) == (403, 302)
    assert started.headers["Location"].startswith(f"{origin}/api/v1/drift-checks/")
    assert (led.status_code, led.headers["Location"]) == (308, f"{origin}/?q=1")


def _command(home: Path, authority: trustme.CA, *, web: int, port: int, tls_port: int) -> list[str]:
    """Compose's configuration on this machine: other ports and folders, less patience."""
    (home / "tls").mkdir(parents=True)
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(home / "tls/key.pem")
    for part in certificate.cert_chain_pems:
        part.write_to_path(home / "tls/certificate.pem", append=True)
    folders = "".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", *_PASSED))
    changes = {
        "web:8000": f"127.0.0.1:{web}",
        "http {": f"http {{ {folders}",
        "client_header_timeout 10s": "client_header_timeout 1s",
        "client_body_timeout 20s": "client_body_timeout 3s",
    }
    text = (CONFIGURATION / "nginx.conf").read_text()
    for there, here in changes.items():
        assert there in text
        text = text.replace(there, here)
    (home / "nginx.conf").write_text(text)
    listen = [
        (CONFIGURATION / f"listen-{scheme}.conf").read_text().replace("listen 8080", f"listen 127.0.0.1:{number}")
        for scheme, number in (("http", port), ("https", tls_port))
    ]
    (home / "listen.conf").write_text("".join(listen))
    # Started by root it would become nobody, who may not enter pytest's folders.
    user = "user root;" if os.geteuid() == 0 else ""
    return [str(NGINX), "-e", "stderr", "-c", f"{home}/nginx.conf", "-g", f"daemon off; {user} pid {home}/pid;"]


_PASSED = ("proxy", "fastcgi", "uwsgi", "scgi")


def _is_over(talk: socket.socket) -> bool:
    with talk:
        return bool(select.select([talk], [], [], 0)[0])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _trickle(talks: list[socket.socket], is_over: Event) -> None:
    """A byte to each, now and then: blanks before JSON, or a request's first line that never ends."""
    while not is_over.wait(0.2):
        for talk in talks:
            try:
                talk.sendall(b"A" if talk is talks[-1] else b" ")
            except OSError:
                continue
