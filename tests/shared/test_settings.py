"""Settings: what they are named, who goes first, and the one line for whatever is wrong."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.settings import PREFIX, EchoSettings, Settings, Wrong, entries, load, read

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No `.env` but the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def wrong(*argv: str, own: str = "gateway") -> str:
    """What `read` says to it."""
    with pytest.raises(Wrong) as caught:
        read("gateway", argv, own)
    return str(caught.value)


def test_the_defaults() -> None:
    settings = read("gateway", [])
    assert (settings.host, settings.port, settings.engine, settings.max_attempts) == (None, 8080, "echo", 20)
    assert (settings.broker.url, settings.lease.seconds) == ("manager:", 3.0)
    assert (settings.queue.limit, settings.queue.timeout) == (10_000, 600.0)
    assert (settings.reply.retention, settings.reply.max_bytes) == (900.0, 4 * 1024 * 1024)
    assert (settings.echo.chunks, settings.echo.interval, settings.echo.words_per_second) == (5, 0.2, 0.0)
    assert (settings.openai.api_key, settings.openai.model, settings.openai.retries) == (None, None, 2)
    assert (settings.gateway.processes, settings.gateway.origins, settings.gateway.idle_timeout) == (1, (), 0.0)
    assert (settings.gateway.max_message_bytes, settings.worker.slots, settings.worker.grace) == (65_536, None, 2.0)


def test_option_goes_before_environment_before_dotenv(empty_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("CHUNKS", "INTERVAL", "WORDS_PER_SECOND")
    (empty_directory / ".env").write_text("".join(f'{PREFIX}ECHO_{name}="1"\n' for name in names))
    for name in names[:2]:
        monkeypatch.setenv(f"{PREFIX}ECHO_{name}", "2")
    assert read("worker", ["--echo-chunks", "3"]).echo == EchoSettings(chunks=3, interval=2, words_per_second=1)


def test_every_setting_has_a_variable_and_an_option_that_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        **dict.fromkeys(("host", "engine", "openai.model", "openai.api_key", "broker.url"), "some"),
        **dict.fromkeys(("openai.base_url", "gateway.origins"), "http://some"),
        "database.url": "some",
        "context.tokens": "300",
        "queue.max_bytes": "2000000",
        "reply.max_bytes": "70000",
        "auth.mode": "required",
        "log.level": "error",
        "log.format": "json",
        "openai.continues": "true",
        "broker.embedded": "false",
        "gateway.ws": "stock",
    }
    for entry in entries():
        text = values.get(".".join(entry.path), "7")
        by_option = read("gateway", [entry.option, text])
        assert by_option != Settings()
        with monkeypatch.context() as patch:
            patch.setenv(entry.variable, text)
            assert read("gateway", []) == by_option
        assert entry.text(by_option).removesuffix(".0") == text


def test_names_are_those_of_the_design() -> None:
    named = {(entry.variable, entry.option) for entry in entries()}
    assert named >= {
        ("LLM_CHAT_PORT", "--port"),
        ("LLM_CHAT_MAX_ATTEMPTS", "--max-attempts"),
        ("LLM_CHAT_ECHO_INTERVAL", "--echo-interval"),
        ("LLM_CHAT_OPENAI_BASE_URL", "--openai-base-url"),
        ("LLM_CHAT_WORKER_SLOTS", "--worker-slots"),
    }


def test_a_programs_own_section_may_leave_its_name_out() -> None:
    assert read("gateway", ["--processes", "3"], "gateway").gateway.processes == 3
    assert read("worker", ["--processes", "3"], "worker").worker.processes == 3
    assert read("worker", ["--worker-processes", "3"], "worker").worker.processes == 3
    assert "--processes" in wrong("--processes", "3", own="")


def test_honchos_port_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "5000")
    assert read("gateway", []).port == 8080


def test_an_empty_value_counts_as_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_CHAT_PORT", "")
    assert read("gateway", ["--openai-api-key", ""]) == Settings()


def test_origins_are_separated_by_commas_and_compared_in_one_form() -> None:
    settings = read("gateway", ["--origins", " https://A.example/, http://b:8000 ,"], "gateway")
    assert settings.gateway.origins == ("https://a.example", "http://b:8000")


def test_settings_cannot_be_changed() -> None:
    settings = Settings()
    for part, name in ((settings, "port"), (settings.echo, "interval")):
        with pytest.raises(ValidationError):
            setattr(part, name, 1)


def test_a_secret_is_not_shown() -> None:
    settings = read("worker", ["--openai-api-key", "sk-secret"])
    assert "sk-secret" not in repr(settings) + str(settings.model_dump())


def test_the_environment_for_a_child_gives_it_these_very_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ["--openai-api-key", "sk-1", "--origins", "http://a,http://b", "--echo-interval", "0", "--worker-slots", "9"]
    settings = read("gateway", argv, "gateway")
    monkeypatch.setenv("LLM_CHAT_ECHO_INTERVAL", "5")
    for name, text in settings.environment().items():
        monkeypatch.setenv(name, text)
    assert read("gateway", []) == settings


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("port", "http", "should be a valid integer"),
        ("port", "65536", "less than or equal to 65535"),
        ("port", "-1", "greater than or equal to 0"),
        ("max-attempts", "0", "greater than or equal to 1"),
        ("queue-timeout", "0", "greater than 0"),
        ("echo-interval", "nan", "finite"),
        ("echo-interval", "inf", "finite"),
        ("lease-seconds", "0", "greater than or equal to 0.2"),
        ("log-level", "loud", "'debug'"),
        ("log-format", "xml", "'console'"),
        ("gateway-origins", "example.org", "https://chat.example.org"),
        ("gateway-origins", "null", "https://chat.example.org"),
        ("openai-base-url", "example.org/v1", "starts with http"),
        ("openai-base-url", "http://", "starts with http"),
        ("worker-slots", "many", "should be a valid integer"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_expected(
    option: str, value: str, expected: str, empty_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = PREFIX + option.upper().replace("-", "_")
    said = wrong(f"--{option}={value}", own="")
    assert said.startswith(f"--{option}: ")
    assert expected in said
    (empty_directory / ".env").write_text(f'{variable}="{value}"')
    assert wrong().startswith(f".env: {variable}: ")
    monkeypatch.setenv(variable, value)
    assert wrong().startswith(f"{variable}: ")


def test_an_option_is_named_as_its_program_does() -> None:
    assert wrong("--processes", "0").startswith("--processes: ")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LLM_CHAT_PROT", "LLM_CHAT_PORT"),
        ("llm_chat_port", "LLM_CHAT_PORT"),
        ("LLM_CHAT_Echo_Interval", "LLM_CHAT_ECHO_INTERVAL"),
        ("LLM_CHAT_ECHO", None),
        ("LLM_CHAT_SOMETHING_ELSE", None),
        ("LLM_CHAT_", None),
    ],
)
def test_an_unknown_name_with_our_prefix_is_refused(
    name: str, meant: str | None, empty_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_directory / ".env").write_text(f"SOMETHING=1\n{name}=1\n")
    in_dotenv = wrong()
    (empty_directory / ".env").unlink()
    monkeypatch.setenv(name, "1")
    for said, start in ((wrong(), f"{name}: "), (in_dotenv, f".env: {name}: ")):
        assert said.startswith(start + "no such setting")
        assert meant is None or said.endswith(f"did you mean {meant}?")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"# fine\nLLM_CHAT_PORT 81\n", ".env: line 2 "),
        (b"LLM_CHAT_PORT\n", ".env: line 1 "),
        (b"LLM_CHAT_PORT=\xff", ".env: cannot be read"),
    ],
)
def test_a_dotenv_that_makes_no_sense_is_refused(content: bytes, said: str, empty_directory: Path) -> None:
    (empty_directory / ".env").write_bytes(content)
    assert wrong().startswith(said)


def test_a_directory_named_dotenv_is_somebody_elses(empty_directory: Path) -> None:
    (empty_directory / ".env").mkdir()
    assert read("gateway", []) == Settings()


@pytest.mark.parametrize("argv", [["--prot", "1"], ["stray"], ["--port"], ["--por", "1"]])
def test_what_the_command_line_does_not_know_is_named(argv: list[str]) -> None:
    assert argv[0] in wrong(*argv)


@pytest.mark.parametrize("argv", [["--port", "x\n\x1b[2J\u2028y"], ["--prot\n"], ["--processes", "0"]])
def test_load_ends_the_process_with_one_line(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load("gateway", argv, "gateway")
    out, err = capsys.readouterr()
    assert (caught.value.code, out, err.splitlines(keepends=True)) == (2, "", [err])
    assert err.startswith(f"gateway: {argv[0].strip()}")
    assert err[:-1].isprintable()


def test_a_real_process_ends_so_too() -> None:
    program = "import sys; from shared.settings import load; load('worker', sys.argv[1:], 'worker')"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LLM_CHAT_WORKER_PROCESES": "2"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    expected = "worker: LLM_CHAT_WORKER_PROCESES: no such setting; did you mean LLM_CHAT_WORKER_PROCESSES?\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def test_a_databases_password_is_not_shown() -> None:
    assert "secret" not in repr(read("gateway", ["--database-url", "postgresql+asyncpg://me:secret@host/db"]))


def test_help_lists_every_setting_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load("gateway", ["--help"], "gateway")
    shown = " ".join(capsys.readouterr().out.split())
    assert caught.value.code == 0
    for entry in entries():
        assert entry.option in shown
        assert f"{entry.text(Settings.model_construct())}, {entry.variable}]".removeprefix(", ") in shown


def test_the_example_file_shows_every_setting_with_its_default(empty_directory: Path) -> None:
    example = (ROOT / ".env.example").read_text()
    shown = dict(re.findall(r'^#(LLM_CHAT_\w+)="(.*)"$', example, re.MULTILINE))
    assert shown == {entry.variable: entry.text(Settings.model_construct()) for entry in entries()}
    (empty_directory / ".env").write_text(example.replace("#LLM_CHAT_", "LLM_CHAT_"))
    assert read("gateway", []) == Settings()
