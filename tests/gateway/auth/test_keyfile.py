import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.auth.keyfile import KeyFile, parse, parse_ring
from gateway.auth.keys import make_key

ROOT = Path(__file__).parents[3]
WRITER = """
import sys
from pathlib import Path
from gateway.auth.keyfile import KeyFile
from gateway.auth.keys import make_key
file, name = KeyFile(Path(sys.argv[1])), sys.argv[2]
for number in range(15):
    record, _ = make_key(f"{name} {number}", 0.0)
    file.add(record)
    if number % 3 == 0:
        assert file.revoke(record.id, 1.0)
"""


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "deep" / "keys.json")
    assert file.records() == []
    (ann, ann_key), (bob, bob_key) = make_key("ann", 1.5), make_key("bob", 2.0, 9.0)
    file.add(ann)
    file.add(bob)
    assert file.records() == [ann, bob]
    data = (tmp_path / "deep" / "keys.json").read_bytes()
    assert parse_ring(data).caller(bob_key, 3.0).owner == "bob"
    assert ann_key.encode() not in data
    assert ann_key[-43:].encode() not in data


def test_only_its_owner_may_read_it_whatever_the_mask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        file = KeyFile(tmp_path / "new" / "keys.json")
        file.add(make_key("ann", 0.0)[0])
        file.add(make_key("bob", 0.0)[0])
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()}
    assert modes == {"keys.json": 0o600, "keys.json.lock": 0o600}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_revoking(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    (ann, _), (bob, _) = make_key("ann", 0.0), make_key("bob", 0.0)
    file.add(ann)
    file.add(bob)
    assert file.revoke(ann.id, 5.0)
    assert file.revoke(ann.id, 6.0)  # which changes nothing
    assert not file.revoke("0" * 12, 5.0)
    assert [record.revoked_at for record in file.records()] == [5.0, None]
    assert ann.id not in parse_ring((tmp_path / "keys.json").read_bytes())


def test_processes_that_write_at_the_same_time_lose_nothing_and_readers_see_no_part(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    names = ["a", "b", "c", "d"]
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name], cwd=ROOT) for name in names]
    sizes = [0]
    while any(writer.poll() is None for writer in writers):
        sizes.append(len(KeyFile(path).records()))  # raises where it sees a part
    assert [writer.wait() for writer in writers] == [0] * 4
    assert sizes == sorted(sizes)

    records = KeyFile(path).records()
    assert {record.owner for record in records} == {f"{name} {number}" for name in names for number in range(15)}
    assert sum(record.revoked_at is not None for record in records) == 4 * 5
    assert sorted(file.name for file in tmp_path.iterdir()) == ["keys.json", "keys.json.lock"]


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = KeyFile(tmp_path / "keys.json")
    file.add(make_key("ann", 0.0)[0])
    before = (tmp_path / "keys.json").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            file.add(make_key("bob", 0.0)[0])
    assert (tmp_path / "keys.json").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2
    file.add(make_key("bob", 0.0)[0])


GOOD = {"id": "0" * 12, "owner": "ann", "sha256": "0" * 64, "created_at": 0}


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"not json",
        b"\xff",
        b"[" * 100_000,
        b'{"version":1}',
        json.dumps({"version": 2, "keys": []}).encode(),
        *(
            json.dumps({"version": 1, "keys": [{**GOOD, **wrong}]}).encode()
            for wrong in ({"owner": ""}, {"owner": 1}, {"sha256": "0"}, {"sha256": "é" * 64}, {"expires_at": "soon"})
        ),
    ],
)
def test_a_damaged_file_is_said_to_be_so(contents: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="this"):
        parse(contents)
    (tmp_path / "keys.json").write_bytes(contents)
    with pytest.raises(ValueError, match="this"):
        KeyFile(tmp_path / "keys.json").add(make_key("ann", 0.0)[0])
    assert (tmp_path / "keys.json").read_bytes() == contents
    assert parse(json.dumps({"version": 1, "keys": [GOOD]}).encode())
