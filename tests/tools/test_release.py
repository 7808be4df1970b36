"""A release in a repository of its own: what it writes, and what it refuses before it writes anything."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from django.conf import settings

from tools.release import IMAGES

ROOT = Path(settings.BASE_DIR)


class Repository:
    """A small one with all that a release reads."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("pyproject.toml", '[project]\nname = "titanic-mlops"\nversion = "0.2.0"\n')
        self.write("CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n- It sails.\n  Far.\n\n## 0.2.0\n\n- It floats.\n")
        self.write("Makefile", "check:\n\t@true\n")
        for path, words in IMAGES.items():
            self.write(path, f"first\n{words}0.2.0\n")
        self.git("init", "--quiet", "--initial-branch", "main")
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", "All")

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def read(self, path: str) -> str:
        return (self.root / path).read_text()

    def git(self, *arguments: str) -> str:
        return self._run("git", *arguments).stdout.strip()

    def release(self, version: str = "0.3.0") -> "subprocess.CompletedProcess[str]":
        return self._run(sys.executable, "-m", "tools.release", version, check=False)

    def _run(self, *command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        names = {f"GIT_{who}_{what}": "Ann" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environment = {**os.environ, **names, "GIT_CONFIG_GLOBAL": os.devnull, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=check)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_it_works(repository: Repository) -> None:
    done = repository.release()

    assert done.returncode == 0, done.stderr
    assert tomllib.loads(repository.read("pyproject.toml"))["project"]["version"] == "0.3.0"
    today = repository.git("log", "-1", "--format=%cs")
    assert repository.read("CHANGELOG.md") == (
        f"# Changelog\n\n## Unreleased\n\n## 0.3.0 ({today})\n\n- It sails.\n  Far.\n\n## 0.2.0\n\n- It floats.\n"
    )
    assert [repository.read(path) for path in IMAGES] == [f"first\n{words}0.3.0\n" for words in IMAGES.values()]
    assert repository.git("tag", "-l", "--format=%(contents)", "v0.3.0") == "0.3.0\n\n- It sails.\n  Far."
    assert repository.git("rev-parse", "v0.3.0^{commit}") == repository.git("rev-parse", "HEAD")
    assert repository.git("status", "--porcelain") == ""
    # The next one has nothing to release yet.
    assert "no entries" in repository.release("0.4.0").stderr


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        ("CHANGELOG.md", "# Changelog\n\n## Unreleased\n\n## 0.2.0\n\n- It floats.\n", "no entries"),
        ("CHANGELOG.md", "# Changelog\n\n## 0.2.0\n\n- It floats.\n", "no entries"),
        ("docker-compose.yml", "image: titanic-mlops:0.1.0\n", "docker-compose.yml does not say"),
        ("Makefile", "check:\n\t@false\n", "make check found something"),
    ],
)
def test_it_refuses(repository: Repository, path: str, text: str, reason: str) -> None:
    repository.write(path, text)
    repository.git("commit", "--quiet", "--all", "--message", "Break it")
    before = repository.git("rev-parse", "HEAD")

    done = repository.release()

    assert (done.returncode, reason in done.stderr) == (1, True), done.stderr
    assert (repository.git("rev-parse", "HEAD"), repository.git("status", "--porcelain")) == (before, "")
    assert repository.git("tag") == ""


@pytest.mark.parametrize("version", ["0.2.0", "0.1.9", "0.3", "v0.3.0", "0.3.0-rc1", "next", "٠.٣.٠", "--"])
def test_it_refuses_what_is_no_next_version(repository: Repository, version: str) -> None:
    assert repository.release(version).returncode
    assert repository.git("tag") == ""


def test_it_refuses_another_branch_a_change_and_a_tag_that_is_there(repository: Repository) -> None:
    repository.git("tag", "v0.3.0")
    taken = repository.release()
    repository.git("checkout", "--quiet", "-b", "other")
    elsewhere = repository.release("0.4.0")
    repository.git("checkout", "--quiet", "main")
    repository.write("new.py", "")
    changed = repository.release("0.4.0")

    assert "a tag v0.3.0 already" in taken.stderr
    assert "not main" in elsewhere.stderr
    assert "not committed" in changed.stderr


def test_the_version_is_everywhere_the_same() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    for path, words in IMAGES.items():
        assert f"{words}{version}" in (ROOT / path).read_text(), path
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
