"""Release what stands on main: python -m tools.release VERSION, or make release ARGS=VERSION.

It checks (main, nothing uncommitted, a newer version, entries in the changelog, `make check`), writes the version where
it stands, moves the entries under it, commits, and tags with these entries as notes. It does not push.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

_UNRELEASED = "## Unreleased\n"
#: pyproject.toml is where the version stands; these name the image that has it, after the words in front.
IMAGES = {
    "docker-compose.yml": "image: titanic-mlops:",
    "deploy/k8s/base/kustomization.yaml": "newTag: ",
    "docs/kubernetes.md": "REGISTRY/titanic-mlops:",
}


def main() -> None:
    """Release the version that the command line names, or say in one sentence why not."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    parser.add_argument("version", help="such as 0.3.0")
    release(parser.parse_args().version)


def release(version: str) -> None:
    """Check, write, commit and tag; raises SystemExit with the reason before anything is written."""
    pyproject, changelog = Path("pyproject.toml"), Path("CHANGELOG.md")
    old = tomllib.loads(pyproject.read_text())["project"]["version"]
    before, _heading, after = changelog.read_text().partition(_UNRELEASED)
    notes = re.split(r"^## ", after, maxsplit=1, flags=re.MULTILINE)[0].strip()
    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", version) or _numbers(version) <= _numbers(old):
        sys.exit(f"{version} is no version after {old}: give three numbers, such as 0.3.0.")
    if _git("branch", "--show-current") != "main":
        sys.exit("This is not main: releases are made there.")
    if _git("status", "--porcelain"):
        sys.exit("Something is not committed: commit it, or put it away with git stash.")
    if _git("tag", "--list", f"v{version}"):
        sys.exit(f"There is a tag v{version} already.")
    if not re.search(r"^- ", notes, re.MULTILINE):
        sys.exit("CHANGELOG.md has no entries under Unreleased.")
    texts = {path: Path(path).read_text() for path in IMAGES}
    for path, words in IMAGES.items():
        if words + old not in texts[path]:
            sys.exit(f'{path} does not say "{words}{old}".')
    if subprocess.run(["make", "check"], check=False).returncode:  # noqa: S607 - the one on the path
        sys.exit("make check found something: nothing was released.")

    heading = f"{_UNRELEASED}\n## {version} ({datetime.now(UTC).date()})\n"
    changelog.write_text(before + heading + after)
    pyproject.write_text(pyproject.read_text().replace(f'version = "{old}"', f'version = "{version}"', 1))
    for path, words in IMAGES.items():
        Path(path).write_text(texts[path].replace(words + old, words + version))
    _git("commit", "--quiet", "--all", "--message", f"Release {version}")
    # Verbatim: git would take headings for comments.
    _git("tag", "--annotate", f"v{version}", "--cleanup=verbatim", "--message", f"{version}\n\n{notes}\n")
    print(f"Tagged v{version}; its notes: git tag -l --format='%(contents)' v{version}")
    print(f"Publish it: git push origin main v{version}")


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)  # noqa: S603, S607 - no shell
    return done.stdout.strip()


if __name__ == "__main__":
    main()
