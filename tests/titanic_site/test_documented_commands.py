"""Every command that README, docs/, `make help` and `manage.py help` name is run, so that none can rot."""

import json
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command, get_commands, load_command_class
from django.db import connection
from markdown_it import MarkdownIt
from markdown_it.token import Token
from pytest_django.live_server_helper import LiveServer

from tests.people import CAST, table
from tests.users import make_user
from titanic_site.models import AccessToken
from training.models import ModelVersion

ROOT = Path(settings.BASE_DIR)
MANAGE = re.compile(r"(?:\.venv/bin/python )?manage\.py (.+)")
#: Commands of ours that README's steps leave out.
OTHER_STEPS = ("bootstrap", "up --stop")
#: A search of half a minute, and a migration that must not be written.
CHEAPER = {"train": ("--algorithm=logistic_regression", "--candidates=0"), "makemigrations": ("--check", "--dry-run")}
VERBS = {
    "Build",
    "Compare",
    "Count",
    "Load",
    "Make",
    "Measure",
    "Promote",
    "Reproduce",
    "Retire",
    "Run",
    "Score",
    "Start",
    "Store",
    "Train",
}
APPS = ("ingestion", "features", "training", "predictions", "monitoring", "titanic_site")
OUR_COMMANDS = sorted(name for name, app in get_commands().items() if app in APPS)


def readme() -> tuple[list[str], list[str]]:
    """The blocks of code of README and of the page of commands, and the commands in README's sentences."""
    tokens = MarkdownIt().parse((ROOT / "README.md").read_text(encoding="utf-8"))
    steps = MarkdownIt().parse((ROOT / "docs/commands.md").read_text(encoding="utf-8"))
    blocks = [token.content for token in (*tokens, *steps) if token.type in ("code_block", "fence")]
    inline = [child.content for token in tokens for child in token.children or () if child.type == "code_inline"]
    return blocks, [text for text in inline if text.startswith("make ")]


BLOCKS, IN_SENTENCES = readme()
CURL_BLOCKS = [block for block in BLOCKS if "curl " in block]


def commands() -> list[str]:
    """Their commands but for curl's, those of a remark `# and: ...` too."""
    found = []
    for line in (line for block in BLOCKS if block not in CURL_BLOCKS for line in block.splitlines()):
        command, _, remark = line.partition("#")
        found.append(command.strip())
        if remark.startswith(" and: "):
            found += [f"manage.py {also}" for also in remark.removeprefix(" and: ").split(", ")]
    return found + IN_SENTENCES


MAKE = [command.split()[1] for command in commands() if command.startswith("make ")]
STEPS = [match[1] for match in map(MANAGE.fullmatch, commands()) if match]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
(TARGETS,) = (line.split() for line in re.findall(r"^\.PHONY: (.+)$", MAKEFILE, flags=re.MULTILINE))


def test_no_command_of_readme_is_of_a_kind_that_is_not_tried_here() -> None:
    unknown = [
        command
        for command in commands()
        if not (command.startswith("make ") or MANAGE.fullmatch(command))
    ]  # fmt: skip

    assert not unknown
    assert (len(MAKE), len(STEPS), len(CURL_BLOCKS)) >= (4, 10, 1)


def test_make_help_lists_every_target() -> None:
    listed = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert [line.split()[1] for line in listed.splitlines()] == TARGETS
    assert set(MAKE) <= set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_target_runs_is_there(target: str) -> None:
    """The recipes themselves run in `make check` and `make test`, and in tests/life those of the product."""
    command = ["make", "-n", "-o", "install", "-o", "install-test", target]
    recipe = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    for name in re.findall(r"manage\.py (\w+)", recipe):
        assert name in get_commands()
    for module in re.findall(r"python -m ([\w.]+)", recipe):
        assert find_spec(module), module
    for program in re.findall(r"\.venv/bin/(\S+)", recipe):
        assert (Path(sys.executable).parent / program).exists(), program


def test_the_steps_run_one_after_the_other(
    champion: ModelVersion, django_user_model: Any, sample_path: Path, settings: Any, tmp_path: Path
) -> None:
    settings.AUTO_PROMOTE = False
    make_user("caller")
    (tmp_path / "in.csv").write_text(table(*CAST))
    words = {
        "ADDRESS": sample_path, "N": champion.version + 1, "IN": tmp_path / "in.csv", "OUT": tmp_path / "out.csv",
        "USER": "caller", "FIELD": "name", "VALUE": "Allen",
    }  # fmt: skip

    for step in (*STEPS, *OTHER_STEPS):
        name, *arguments = (str(words.get(word, word)) for word in shlex.split(step))
        if name in ("backup", "restore"):
            # They have connections of their own, which see nothing of this test: test_life.py runs them.
            continue
        out = StringIO()
        said = call_command(name, *arguments, *CHEAPER.get(name, ()), stdout=out)
        assert said or out.getvalue() or name == "up", step
        # Of a version trained just now; other tests have those that differ.
        assert name != "reproduce" or "reproduced to the last bit" in said

    assert {step.split()[0] for step in (*STEPS, *OTHER_STEPS)} >= set(OUR_COMMANDS)


@pytest.mark.parametrize("block", CURL_BLOCKS)
def test_curl_gets_an_answer(
    block: str, live_server: LiveServer, champion: ModelVersion, django_user_model: Any, tmp_path: Path
) -> None:
    _instance, token = AccessToken.objects.create(make_user("caller"))
    (tmp_path / "var").mkdir()
    (tmp_path / "var/credentials.json").write_text(json.dumps({"token": token}))
    script = block.replace("http://127.0.0.1:8000", live_server.url).replace("curl ", "curl --silent --fail-with-body ")

    done = subprocess.run(
        ["bash", "-c", f"TOKEN={token}\n{script}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    # One prediction, or what became of several, or tensors.
    assert {"id", "recorded", "outputs"} & json.loads(done.stdout).keys()


NOT_RUN = re.compile(r"<!-- not run: (.+?): (.+) -->")
RUN_BY = re.compile(r"<!-- run by ((?:tests|drills)/\S+\.py) -->")
PROGRAMS = re.compile(
    r"(?:\w+=\S+ )*(?:sudo|make|curl|gcloud|docker|kubectl|helm|prometheus|promtool|nginx|systemctl|journalctl|git"
    r"|python3?|manage\.py|\.venv/\S+) "
)
#: What stands for a value of the reader's.
PLACES = {"N": "1", "FIELD": "name"}
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def commands_of(token: Token) -> list[str]:
    """Return the lines of a block of commands, or the commands in a sentence."""
    if token.type == "fence":
        return token.content.replace("\\\n", "").splitlines() if token.info == "sh" else []
    inline = [child.content for child in token.children or () if child.type == "code_inline"]
    return [text for text in inline if PROGRAMS.match(text)]


def untried(page: Path) -> list[str]:
    """Return the commands of a page that nothing tries, and its remarks that speak of nothing.

    `make` and `manage.py` are tried here. Above others stands a remark: `<!-- run by tests/x.py -->` speaks of the next
    block, `<!-- not run: PROGRAM, PROGRAM: why -->` of these programs from there on.
    """
    excused: dict[str, int] = {}
    runner, wrong = "", []
    for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
        if remark := RUN_BY.match(token.content):
            runner = remark[1]
            # It reads the page.
            assert page.name in (ROOT / runner).read_text(encoding="utf-8")
        elif remark := NOT_RUN.match(token.content):
            excused |= dict.fromkeys(re.split(", *", remark[1]), 0)
        elif token.type == "fence" and token.info == "sh" and runner:
            runner = ""
        else:
            for command in map(without_settings, commands_of(token)):
                program = command.split()[0]
                if program in excused:
                    excused[program] += 1
                elif not is_tried(command):
                    wrong.append(command)
    return wrong + [f"not run: {program}" for program, count in excused.items() if not count]


def without_settings(command: str) -> str:
    """Leave out what is set for this command alone, and remarks."""
    return re.sub(r"^(\w+=(\$\(.+?\)|\S+) )+| +#.*", "", command)


def is_tried(command: str) -> bool:
    """Tell whether it is a target of the Makefile, a module, or a command of ours with arguments that it takes."""
    if command.startswith("make "):
        return command.split()[1] in TARGETS
    if command.startswith("python -m "):
        return find_spec(command.split()[2]) is not None
    match = MANAGE.fullmatch(command)
    if match is None:
        return False
    verb, *arguments = (PLACES.get(word, word) for word in shlex.split(match[1]))
    if verb == "help":
        return set(arguments) <= get_commands().keys()
    parser = load_command_class(get_commands()[verb], verb).create_parser("manage.py", verb)
    with suppress(CommandError):
        # Alone it is spoken of, not called.
        return not arguments or bool(parser.parse_args(arguments))
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_command_of_the_documents_is_tried_or_says_why_not(page: Path) -> None:
    assert untried(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_block_says_what_it_is(page: Path) -> None:
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))

    assert [token.content for token in tokens if token.type == "code_block"] == []
    assert {token.info for token in tokens if token.type == "fence"} <= {"sh", "json", "python", "ini", "text", "yaml"}


def test_a_command_that_nothing_tries_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "`make nothing` `manage.py train` `docker compose up`\n\n```sh\nrm -r old\n```\n"
        "<!-- not run: kubectl, psql: no cluster -->\n`kubectl get pods`\n"
    )

    assert untried(page) == [
        "make nothing", "docker compose up", "rm -r old", "not run: psql",
    ]  # fmt: skip


@pytest.mark.parametrize("name", OUR_COMMANDS)
def test_each_command_says_what_it_does(name: str) -> None:
    help_text = load_command_class(get_commands()[name], name).help

    assert help_text.split()[0] in VERBS
    assert help_text.endswith(".")


@pytest.mark.django_db
def test_a_database_without_tables_is_named() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ingestion_dataset RENAME TO elsewhere")

    with pytest.raises(CommandError, match="not migrated"):
        call_command("build_features")
