"""docs/auth.md and the code say the same."""

import re
from pathlib import Path

import msgspec

from gateway.auth import answers, credentials, jwt_check, jwt_keys, middleware, opening, owner, tickets
from gateway.auth.desk import PATH
from shared.errors import NotAuthenticated
from shared.settings import Settings, entries

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "auth.md").read_text()


def test_every_setting_is_there_and_no_other() -> None:
    ours = {entry.variable for entry in entries() if entry.path[0] == "auth"}
    assert set(re.findall(r"LLM_CHAT_[A-Z_]+[A-Z]", PAGE)) == ours
    assert f"`{Settings.model_construct().auth.mode}` | the default" in PAGE


def test_the_numbers_are_those_of_the_code() -> None:
    for said in (
        f"good for {tickets.LIFETIME:.0f} seconds",
        f"a leeway of {jwt_check.LEEWAY:.0f} seconds",
        f"up to {jwt_keys.MOST_KEYS} such keys",
        f"RSA of at least {jwt_keys.SMALLEST_RSA:,} bits",
        f"1 to {owner.LONGEST} printable",
    ):
        assert said in PAGE


def test_the_names_are_those_of_the_code() -> None:
    for name in (credentials.KEY, credentials.TICKET, PATH, opening.SECRET, *middleware.OPEN_PATHS, "/static/"):
        assert name in PAGE


def test_the_answers_are_those_of_the_code() -> None:
    for line in re.findall(r'^ +(\{"type":"error".*\})$', PAGE, re.MULTILINE):
        assert msgspec.json.decode(line) == answers._ours(NotAuthenticated())
    assert f'"code":"{answers._openai(NotAuthenticated(), False)["error"]["code"]}"' in PAGE


def test_every_link_leads_somewhere() -> None:
    for link in re.findall(r"\]\(((?!http)[^)#]+)", PAGE):
        assert (DOCS / link).exists()
