"""What the README says of settings, and of commands, is so."""

import re
from pathlib import Path

from shared.settings import Settings, entries

README = (Path(__file__).parents[1] / "README.md").read_text()
ENV_EXAMPLE = (Path(__file__).parents[1] / ".env.example").read_text()


def test_the_table_has_every_setting_with_its_default_and_meaning() -> None:
    rows = dict(re.findall(r"^\| `(LLM_CHAT_\w+)` (\|.*\|)$", README, re.MULTILINE))
    defaults = Settings.model_construct()
    expected = {}
    for entry in entries():
        default = entry.text(defaults)
        expected[entry.variable] = f"| {f'`{default}`' if default else ''} | {entry.field.description} |"
    assert rows == expected


def test_every_variable_that_the_texts_name_exists() -> None:
    known = {entry.variable for entry in entries()}
    for text in (README, ENV_EXAMPLE):
        assert set(re.findall(r"LLM_CHAT_[A-Z_]+[A-Z]", text)) <= known


def test_every_file_that_the_readme_links_to_exists() -> None:
    links = re.findall(r"\]\(((?!http)[^)#]+)\)", README)
    assert links
    for link in links:
        assert (Path(__file__).parents[1] / link).exists(), link


def test_every_make_target_that_the_readme_names_exists() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    for target in set(re.findall(r"\bmake ([a-z-]+)\b", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
