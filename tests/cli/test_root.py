from __future__ import annotations

import subprocess
import sys

import pytest

from watchword import __version__
from watchword.cli import _COMMANDS, cli


def test_help_lists_every_command(run) -> None:
    told = run("--help").stdout
    for name, sentence in _COMMANDS.items():
        assert name in told
        assert sentence[:20] in told


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_every_command_can_be_had_and_explains_itself(run, name: str) -> None:
    assert "Usage" in run(name, "--help").stdout


def test_a_noun_s_help_cuts_no_sentence_short(run) -> None:
    for noun in ("user", "client", "key"):
        assert "..." not in run(noun, "--help").stdout.partition("Commands:")[2]


def test_every_leaf_has_the_common_options() -> None:
    import click

    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        leaves = command.commands.values() if isinstance(command, click.Group) else [command]
        for leaf in leaves:
            assert {"as_json", "config", "quiet", "target"} <= {param.name for param in leaf.params}


@pytest.mark.parametrize("asked", ["", "user", "user create", "client", "key", "token", "explain"])
def test_help_imports_nothing_heavy(asked: str) -> None:
    """What is slow is slow on any machine; so imports are counted, not seconds."""
    code = (
        "import sys\nfrom watchword.cli import cli\n"
        f"try: cli([*{asked.split()}, '--help'], prog_name='watchword')\nexcept SystemExit: pass\n"
        "heavy = {'fastapi', 'sqlalchemy', 'pydantic', 'uvicorn', 'rich', 'alembic'}\n"
        f"heavy |= {{'cryptography'}} if not {asked!r} else set()\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_slip_of_the_finger_is_answered_with_what_was_meant(run) -> None:
    assert "Did you mean user?" in run("usr", code=2).stderr
    run("nonsense", code=2)
    run("--nonsense", code=2)


def test_the_version(run) -> None:
    assert __version__ in run("--version").stdout


def test_a_config_file_may_lie_elsewhere(run, tmp_path) -> None:
    other = tmp_path / "elsewhere.toml"
    other.write_text('brand_new = "x"\n')
    refused = run("info", "--json", "--config", str(other))
    assert "brand_new" in refused.stdout
    run("info", "--config", str(tmp_path / "none.toml"), code=2)
    assert "brand_new" not in run("info", "--json").stdout  # and it was for that command only


def test_a_broken_config_file_is_said_so(run, tmp_path) -> None:
    (tmp_path / "watchword.toml").write_text("= nonsense")
    assert "watchword.toml cannot be read" in run("user", "list", code=78).stderr
    (tmp_path / "watchword.toml").write_text('scopes = "me"')
    assert "[scopes]" in run("doctor", code=2).stdout


def test_a_database_in_memory_is_out_of_reach(run) -> None:
    refused = run("user", "list", code=78, WATCHWORD_DATABASE_URL="sqlite:///:memory:")
    assert "in memory" in refused.stderr


def test_a_database_that_cannot_be_opened_is_said_so(run) -> None:
    run("user", "list", code=1, WATCHWORD_DATABASE_URL="sqlite:////nowhere/at/all/w.db")
