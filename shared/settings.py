"""The settings: one frozen object, read once, from the command line, the environment and `.env`, in this order.

Names follow from the fields. `Settings.echo.interval` is LLM_CHAT_ECHO_INTERVAL in the environment and in `.env`, and
`--echo-interval` on the command line. An empty value counts as not given. Durations are seconds.
"""

import argparse
import difflib
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NoReturn

from dotenv.parser import parse_stream
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "LLM_CHAT_"
DOTENV = ".env"

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s,]+")


def _origins(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = [part.strip().rstrip("/").lower() for part in value.split(",") if part.strip()]
    for origin in found:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(f"an origin looks like https://chat.example.org; {origin!r} does not")
    return tuple(found)


def _names(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _base_url(value: object) -> object:
    if isinstance(value, str) and not re.match(r"https?://[^/\s]", value.strip()):
        raise ValueError("a base URL starts with http:// or https://")
    return value.strip().rstrip("/") if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(min_length=1)]
Duration = Annotated[float, Field(gt=0, allow_inf_nan=False)]
OptionalDuration = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names)]
Level = Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)]


class Section(BaseModel):
    """Settings that belong together. The docstrings below the fields are the help texts."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, use_attribute_docstrings=True)


class BrokerSettings(Section):
    """Which broker."""

    url: Annotated[Name, Field(repr=False)] = "manager:"
    """where the broker is: manager: in a default directory per user, manager:///some/dir elsewhere, or \
redis://user:password@host:6379/0"""
    embedded: bool = True
    """whether a gateway starts the manager broker where none runs; false where something else sees to that"""


class DatabaseSettings(Section):
    """Where conversations last."""

    url: SecretStr = SecretStr("none")
    """where conversations are kept: none: nowhere, sqlite: in a file in a default directory, \
sqlite+aiosqlite:///file, or postgresql+asyncpg://user:password@host/name"""


class ContextSettings(Section):
    """How much of a conversation the model is given."""

    tokens: Annotated[int, Field(ge=256)] = 32_768
    """tokens that the model can read and write together, at four characters each"""
    reply_tokens: Annotated[int, Field(ge=1)] = 4_096
    """tokens of it that are left for the reply, where the message asks for no other number"""


class QueueSettings(Section):
    """Messages that wait for a worker."""

    limit: Count = 10_000
    """messages that may wait for a worker"""
    max_bytes: Annotated[int, Field(ge=1 << 20)] = 256 << 20
    """bytes that they may have in all, each with its conversation"""
    timeout: Duration = 600.0
    """seconds that a message may wait for a worker"""


class LeaseSettings(Section):
    """A worker's timed right to write."""

    seconds: Annotated[float, Field(ge=0.2, le=3600)] = 3.0
    """seconds without news of a worker after which its replies are given to another one"""


class ReplySettings(Section):
    """What the broker keeps of replies."""

    retention: Duration = 900.0
    """seconds that a reply can be resumed after its end"""
    max_bytes: Annotated[int, Field(ge=65_536)] = 4 << 20
    """bytes of kept replies of one session"""


class EchoSettings(Section):
    """The echo engine."""

    chunks: Count = 5
    """chunks of an echoed reply"""
    interval: OptionalDuration = 0.2
    """seconds between two chunks"""
    words_per_second: OptionalDuration = 0.0
    """send the reply word by word at this rate instead (0: off)"""


class OpenAISettings(Section):
    """The engine for servers that speak OpenAI's chat API."""

    base_url: Annotated[str, BeforeValidator(_base_url)] = "https://api.openai.com/v1"
    """address of the server, up to and with its /v1"""
    api_key: SecretStr | None = None
    """key for the server; better not as an option, which every user of the machine can read"""
    model: Name | None = None
    """model for messages that name none"""
    connect_timeout: Duration = 5.0
    """seconds until the server must have taken the connection"""
    first_token_timeout: Duration = 60.0
    """seconds until the first piece of text must have come"""
    between_token_timeout: Duration = 30.0
    """seconds that may pass between two pieces of text"""
    retries: Annotated[int, Field(ge=0, le=100)] = 2
    """further tries before the first piece of text"""
    continues: bool = False
    """whether the server goes on behind the beginning of a reply: llama.cpp, vLLM and SGLang can"""


class AuthSettings(Section):
    """Who may use the service."""

    mode: Annotated[Literal["auto", "none", "local", "required"], BeforeValidator(_lower)] = "auto"
    """none: everybody, local: this machine, required: who has a key, auto: required where there are keys, else local"""
    keys: Name | None = None
    """file of the hashed API keys (unset: keys.json in the default directory of this user)"""
    jwt_key: Name | None = None
    """file with the key that JSON Web Tokens are verified by: a PEM public key, or a secret"""
    jwt_jwks: Name | None = None
    """file with several such keys, as a JSON Web Key Set"""
    jwt_issuer: Name | None = None
    """what the tokens must have as their iss (unset: anything)"""
    jwt_audience: Name | None = None
    """what the tokens must have in their aud (unset: they must have none)"""


class LogSettings(Section):
    """What is logged."""

    level: Level = "info"
    """least important messages shown: debug, info, warning, error or critical"""
    format: Annotated[Literal["auto", "console", "json"], BeforeValidator(_lower)] = "auto"
    """console for people, json for machines, or auto: console on a terminal and under honcho, else json"""


class GatewaySettings(Section):
    """The gateway."""

    processes: Annotated[int, Field(ge=1, le=1024)] = 1
    """gateway processes on the same port"""
    models: Names = ()
    """models that clients of /v1 may name, separated by commas (unset: what the engine's settings say)"""
    origins: Origins = ()
    """pages of other origins that may connect, separated by commas, as in https://chat.example.org"""
    handshake_timeout: Duration = 10.0
    """seconds until a new connection must have asked for something"""
    send_timeout: Duration = 30.0
    """seconds after which a client that reads nothing is disconnected"""
    ping_interval: Duration = 20.0
    """seconds between two pings, and until a missing answer ends the connection"""
    idle_timeout: OptionalDuration = 0.0
    """seconds after which a connection without traffic is closed (0: never)"""
    drain_delay: OptionalDuration = 1.0
    """seconds between telling clients to go elsewhere and stopping"""
    max_message_bytes: Annotated[int, Field(ge=1, le=64 << 20)] = 65_536
    """bytes that a client's message may have"""
    ws: Annotated[Literal["own", "stock"], BeforeValidator(_lower)] = "own"
    """what speaks WebSocket: own, or stock for uvicorn's class, to compare with"""


class WorkerSettings(Section):
    """The worker."""

    processes: Annotated[int, Field(ge=1, le=1024)] = 1
    """engine processes"""
    slots: Count | None = None
    """replies that one engine process writes at the same time (unset: as many as suits the engine)"""
    grace: OptionalDuration = 2.0
    """seconds to finish replies before they are handed to another worker when stopping"""


class Settings(BaseSettings):
    """All of them. `Settings()` reads the environment; programs call `load`, which also checks for unknown names."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="_",
        env_nested_max_split=1,
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        str_strip_whitespace=True,
        use_attribute_docstrings=True,
    )

    host: Name | None = None
    """address to listen on (unset: both loopback addresses)"""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    """port to listen on (0: any free one)"""
    engine: Name = "echo"
    """what writes the replies: echo, openai or an installed engine's name"""
    max_attempts: Count = 20
    """workers that a reply may lose before it is given up"""
    broker: BrokerSettings = BrokerSettings()
    database: DatabaseSettings = DatabaseSettings()
    context: ContextSettings = ContextSettings()
    queue: QueueSettings = QueueSettings()
    lease: LeaseSettings = LeaseSettings()
    reply: ReplySettings = ReplySettings()
    echo: EchoSettings = EchoSettings()
    openai: OpenAISettings = OpenAISettings()
    auth: AuthSettings = AuthSettings()
    log: LogSettings = LogSettings()
    gateway: GatewaySettings = GatewaySettings()
    worker: WorkerSettings = WorkerSettings()

    def environment(self) -> dict[str, str]:
        """The variables that give a child process these very settings; the key is among them, so keep it off argv."""
        texts = {entry.variable: entry.text(self) for entry in entries()}
        return {name: text for name, text in texts.items() if text}


class Entry(NamedTuple):
    """One setting, under each of its names."""

    path: tuple[str, ...]
    field: FieldInfo

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return PREFIX + "_".join(self.path).upper()

    @property
    def help(self) -> str:
        """What it is for, its default and its variable, for argparse."""
        default = self.text(Settings.model_construct())
        return f"{self.field.description} [{default + ', ' if default else ''}{self.variable}]".replace("%", "%%")

    @property
    def option(self) -> str:
        """Its name on any program's command line."""
        return "--" + "-".join(self.path).replace("_", "-")

    def short(self, own: str) -> str:
        """Its name where the section `own` may be left out."""
        return "--" + self.path[1].replace("_", "-") if self.path[0] == own else self.option

    def text(self, settings: Settings) -> str:
        """Its value as one writes it; empty where it is unset."""
        value: Any = settings
        for name in self.path:
            value = getattr(value, name)
        if isinstance(value, SecretStr):
            return value.get_secret_value()
        if isinstance(value, bool):
            return str(value).lower()
        return ",".join(value) if isinstance(value, tuple) else "" if value is None else str(value)


def entries() -> Iterator[Entry]:
    """Every setting, section by section."""
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, Section):
            for inner, inner_field in type(field.default).model_fields.items():
                yield Entry((name, inner), inner_field)
        else:
            yield Entry((name,), field)


class Wrong(Exception):
    """A sentence that names a variable or an option and says what is expected of it."""


def load(prog: str, argv: Sequence[str], options: str = "") -> Settings:
    """The settings of a program, by `argv` (without the program's name), the environment and `.env` in this directory.

    `options` names the section whose options may leave its name out: `--processes` for `--gateway-processes`. Whatever
    is wrong ends the process with status 2 and one line on stderr; `--help` ends it with 0.
    """
    try:
        return read(prog, argv, options)
    except Wrong as wrong:
        sys.stderr.write(f"{prog}: {_UNSAFE.sub('?', str(wrong))}\n")
        raise SystemExit(2) from None


def read(prog: str, argv: Sequence[str], options: str = "") -> Settings:
    """What `load` does, for callers that want Wrong raised."""
    given = {name: value for name, value in vars(_parser(prog, options).parse_args(argv)).items() if value}
    lines = _dotenv(Path(DOTENV))
    _check_names(os.environ, "")
    _check_names(lines, f"{DOTENV}: ")
    found = {entry.path: given[entry.option] for entry in entries() if entry.option in given}
    try:
        return Settings(_env_file=DOTENV, **_nested(found))  # type: ignore[call-arg]  # an argument of BaseSettings
    except ValidationError as error:
        raise Wrong(_sentence(error, found, options)) from None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line; argparse's own way is to print the whole usage first."""
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            message = f"{unknown}: no such option; --help lists them"
        raise Wrong(message.removeprefix("argument "))


def _parser(prog: str, own: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f"python -m {prog}",
        usage="%(prog)s [options]",
        epilog=f"Each option can also be set by its variable, in the environment or in {DOTENV}.",
        allow_abbrev=False,
    )
    groups = {"": parser.add_argument_group("where and what")}
    for entry in sorted(entries(), key=lambda entry: (len(entry.path) > 1, entry.path[0] != own)):
        section = entry.path[0] if len(entry.path) > 1 else ""
        if section not in groups:
            groups[section] = parser.add_argument_group(section)
        names = dict.fromkeys((entry.short(own), entry.option))
        groups[section].add_argument(*names, dest=entry.option, metavar="X", help=entry.help)
    return parser


def _dotenv(path: Path) -> list[str]:
    """The names that the file sets. Raises Wrong where it cannot be read or understood."""
    if not path.is_file():  # some people's virtual environment has this name
        return []
    try:
        bindings = list(parse_stream(io.StringIO(path.read_text(encoding="utf-8"))))
    except (OSError, UnicodeDecodeError) as error:
        raise Wrong(f"{path}: cannot be read ({error})") from None
    for binding in bindings:
        if binding.error or (binding.key and binding.value is None):
            raise Wrong(f"{path}: line {binding.original.line} is not of the form NAME=value")
    return [binding.key for binding in bindings if binding.key]


def _check_names(names: Iterable[str], where: str) -> None:
    known = {entry.variable for entry in entries()}
    for name in names:
        if name.upper().startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(
                name.upper().removeprefix(PREFIX), [k.removeprefix(PREFIX) for k in known], 1
            )
            raise Wrong(f"{where}{name}: no such setting" + (f"; did you mean {PREFIX}{near[0]}?" if near else ""))


def _nested(found: Mapping[tuple[str, ...], str]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for path, value in found.items():
        if len(path) > 1:
            result.setdefault(path[0], {})[path[1]] = value
        else:
            result[path[0]] = value
    return result


def _sentence(error: ValidationError, found: Mapping[tuple[str, ...], str], own: str) -> str:
    """The first of pydantic's complaints, under the name by which the user gave the value."""
    first = error.errors(include_url=False)[0]
    entry = next(entry for entry in entries() if entry.path == first["loc"][: len(entry.path)])
    where = entry.short(own) if entry.path in found else entry.variable
    if entry.path not in found and not os.environ.get(entry.variable):
        where = f"{DOTENV}: {where}"
    expected = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
    secret = entry.path[-1].endswith("_key") or entry.path in (("broker", "url"), ("database", "url"))
    shown = "" if secret else f" (it is {str(first['input'])[:80]!r})"
    return f"{where}: {expected}{shown}"
