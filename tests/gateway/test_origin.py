import pytest

from gateway.origin import allowed

LISTED = ("https://chat.example", "http://[2001:db8::1]:3000", "chrome-extension://abcdef")


def headers(host: str | None, *origins: str) -> list[tuple[bytes, bytes]]:
    pairs = [(b"origin", origin.encode("latin-1")) for origin in origins]
    return pairs if host is None else [(b"host", host.encode("latin-1")), *pairs]


def test_programs_without_an_origin_may_connect() -> None:
    assert allowed(headers("localhost:8080"), ())
    assert allowed(headers(None), ())


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8080", "http://localhost:8080"),
        ("LOCALHOST:8080", "http://LocalHost:8080"),
        ("chat.example", "http://chat.example"),
        ("chat.example:80", "http://chat.example"),
        ("chat.example", "http://chat.example:80"),
        ("chat.example", "https://chat.example"),  # a proxy in front of us ends TLS
        ("chat.example:443", "https://chat.example"),
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("[0:0:0:0:0:0:0:1]:8080", "http://[::1]:8080"),
        ("[2001:DB8::1]", "http://[2001:db8:0::1]"),
    ],
)
def test_the_servers_own_pages_may_connect(host: str, origin: str) -> None:
    assert allowed(headers(host, origin), ())


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8080", "http://localhost:3000"),
        ("localhost:8080", "http://localhost"),
        ("localhost", "http://localhost:8080"),
        ("localhost:8080", "http://127.0.0.1:8080"),
        ("localhost:8080", "https://evil.example"),
        ("chat.example", "http://chat.example.evil.example"),
        ("chat.example", "http://evilchat.example"),
        ("chat.example:443", "http://chat.example"),
        ("chat.example:80", "https://chat.example"),
        ("[::1]:8080", "http://[::2]:8080"),
        ("localhost:8080", "file://localhost:8080"),
    ],
)
def test_other_pages_may_not(host: str, origin: str) -> None:
    assert not allowed(headers(host, origin), ())


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "localhost:8080",
        "//localhost:8080",
        "http://",
        "http://localhost:8080/",
        "http://localhost:8080/path",
        "http://user@localhost:8080",
        "http://localhost:8080#",
        "http://localhost:8080 ",
        " http://localhost:8080",
        "http://localhost:8080\n",
        "http://localhost:",
        "http://localhost:99999",
        "http://localhost:8080, http://localhost:8080",
        "http://localhost:8080 http://localhost:8080",
        "http://[::1:8080",
        "http://[zz]:8080",
        "http://lo\xe7alhost:8080",
    ],
)
def test_null_and_malformed_origins_are_foreign(origin: str) -> None:
    assert not allowed(headers("localhost:8080", origin), ())


def test_several_origins_are_foreign_even_where_each_is_fine() -> None:
    own = "http://localhost:8080"
    assert not allowed(headers("localhost:8080", own, own), (own,))


def test_without_one_plain_host_no_origin_is_the_servers_own() -> None:
    assert not allowed(headers(None, "http://localhost"), ())
    assert not allowed([(b"host", b"localhost"), *headers("localhost", "http://localhost")], ())
    assert not allowed(headers("", "http://localhost"), ())
    assert not allowed(headers("a@localhost", "http://localhost"), ())


@pytest.mark.parametrize(
    "origin",
    [
        "https://chat.example",
        "https://chat.example:443",
        "https://CHAT.example",
        "http://[2001:db8:0:0::1]:3000",
        "chrome-extension://abcdef",
    ],
)
def test_listed_origins_may_connect(origin: str) -> None:
    assert allowed(headers("localhost:8080", origin), LISTED)


@pytest.mark.parametrize("origin", ["http://chat.example", "https://chat.example:8443", "https://sub.chat.example"])
def test_a_listed_origin_stands_for_itself_alone(origin: str) -> None:
    assert not allowed(headers("localhost:8080", origin), LISTED)


def test_a_malformed_entry_in_the_list_lets_no_malformed_origin_in() -> None:
    assert not allowed(headers("localhost:8080", "null"), ("null",))
