"""Unpacking what people download."""

import hashlib
import io
import json
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from zsad.data.prepare import archives
from zsad.data.prepare.archives import UnsafeArchiveError, check_digest, is_archive, unpack

FILES = {"set/good/0.png": b"zero", "set/bad one/[1].png": b"one" * 1000, "readme.txt": b"words"}


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes], *more: tarfile.TarInfo) -> Path:
    with tarfile.open(path, f"w:{path.suffix[1:]}" if path.suffix != ".tar" else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in more:
            archive.addfile(member)
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def packed(path: Path, files: dict[str, bytes]) -> Path:
    return zipped(path, files) if path.suffix == ".zip" else tarred(path, files)


def contents(folder: Path) -> dict[str, bytes]:
    files = (
        path for path in folder.rglob("*") if path.is_file() and path.name != archives.STAMP_FILE
    )
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


KINDS = ["a.zip", "a.tar", "a.tar.gz", "a.tar.xz", "a.tar.bz2"]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_archive_is_unpacked_and_left_as_it_was(tmp_path, name):
    archive = packed(tmp_path / name, FILES)
    before = archive.read_bytes()
    moves: list[tuple[int, int]] = []
    folder = unpack([archive], tmp_path / "out", lambda done, total: moves.append((done, total)))
    assert folder == tmp_path / "out"
    assert contents(folder) == FILES
    assert archive.read_bytes() == before
    assert moves[-1] == (len(before), len(before))
    assert moves == sorted(moves)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "out"])


def test_several_archives_fill_one_folder(tmp_path):
    one = zipped(tmp_path / "1.zip", {"a/0.png": b"0", "licence.txt": b"same"})
    two = zipped(tmp_path / "2.zip", {"b/0.png": b"1", "licence.txt": b"same"})
    assert set(contents(unpack([one, two], tmp_path / "out"))) == {
        "a/0.png",
        "b/0.png",
        "licence.txt",
    }


def test_archives_that_disagree_about_a_file_are_refused(tmp_path):
    one, two = (zipped(tmp_path / f"{i}.zip", {"a/0.png": bytes([i])}) for i in range(2))
    with pytest.raises(ValueError, match=r"a/0\.png is there twice with different content"):
        unpack([one, two], tmp_path / "out")


@pytest.mark.parametrize(
    "name",
    ["../evil.png", "/evil.png", "a/../../evil.png", "C:\\evil.png", "..\\evil.png", "\\evil"],
)
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_no_name_leaves_the_folder(tmp_path, name, pack):
    archive = pack(
        tmp_path / ("a.zip" if pack is zipped else "a.tar"), {"good.png": b"", name: b"evil"}
    )
    with pytest.raises(UnsafeArchiveError, match="outside of the folder"):
        unpack([archive], tmp_path / "in" / "out")
    assert [path.name for path in tmp_path.rglob("*evil*")] == []
    assert list((tmp_path / "in").iterdir()) == []


@pytest.mark.parametrize("target", ["../../secret", "/etc/passwd", "../secret", "nowhere.png"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_no_link_leads_out(tmp_path, target, kind):
    (tmp_path / "secret").write_text("secret")
    archive = tarred(tmp_path / "a.tar", FILES, link("x.png", target, kind))
    with pytest.raises(UnsafeArchiveError, match=r"x\.png"):
        unpack([archive], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("kind", "target"), [(tarfile.SYMTYPE, "../good/0.png"), (tarfile.LNKTYPE, "set/good/0.png")]
)
def test_a_link_inside_becomes_a_copy(tmp_path, kind, target):
    archive = tarred(tmp_path / "a.tar.gz", FILES, link("set/more/1.png", target, kind))
    copy = unpack([archive], tmp_path / "out") / "set/more/1.png"
    assert copy.read_bytes() == b"zero"
    assert not copy.is_symlink()


def test_devices_are_refused(tmp_path):
    with pytest.raises(UnsafeArchiveError, match="device"):
        unpack(
            [tarred(tmp_path / "a.tar", FILES, link("pipe", "", tarfile.FIFOTYPE))],
            tmp_path / "out",
        )


def test_a_link_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        member = zipfile.ZipInfo("x.png")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(UnsafeArchiveError, match=r"x\.png is a link"):
        unpack([tmp_path / "a.zip"], tmp_path / "out")


def test_a_bomb_is_refused_before_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "SMALL_ARCHIVE", 1000)
    for archive in (
        zipped(tmp_path / "a.zip", {"zeros.bin": bytes(5_000_000)}),
        tarred(tmp_path / "a.tar.xz", {"zeros.bin": bytes(5_000_000)}),
    ):
        with pytest.raises(UnsafeArchiveError, match="100 times its size"):
            unpack([archive], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_what_the_disk_has_no_room_for_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setattr(archives, "DISK_SHARE", 0)
    with pytest.raises(ValueError, match=r"needs .* GB more than the disk has to spare"):
        unpack([packed(tmp_path / name, FILES)], tmp_path / "out")


@pytest.mark.parametrize("name", KINDS)
def test_a_download_cut_short_leaves_nothing_and_is_told(tmp_path, name):
    archive = packed(
        tmp_path / name, {f"{i}.bin": hashlib.sha512(bytes([i])).digest() * 64 for i in range(20)}
    )
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"cannot be unpacked .*fetch it again"):
        unpack([archive], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar.xz", "a.tar.bz2"])
def test_a_download_with_a_wrong_bit_leaves_nothing_and_is_told(tmp_path, name):
    noise = {f"{i}.bin": hashlib.sha512(bytes([i])).digest() * 9 for i in range(200)}
    archive = packed(tmp_path / name, noise)
    damaged = bytearray(archive.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    archive.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"cannot be unpacked .*fetch it again"):
        unpack([archive], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_name_may_be_as_long_as_the_disk_allows(tmp_path, pack):
    files = {f"good/{'x' * 251}.png": b"x", "bad/" + "ä" * 127: b"y"}
    archive = pack(tmp_path / ("a.zip" if pack is zipped else "a.tar"), files)
    assert contents(unpack([archive], tmp_path / "out")) == files


@pytest.mark.parametrize(
    "files",
    [
        {"good/" + "x" * 300: b"x"},
        {"good": b"x", "good/0.png": b"y"},
        {"good/0.png": b"y", "good": b"x"},
    ],
)
def test_names_that_no_disk_can_hold_are_told(tmp_path, files):
    with pytest.raises(ValueError, match=r"a\.tar cannot be unpacked here .*unpack it by hand"):
        unpack([tarred(tmp_path / "a.tar", files)], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_an_interrupted_call_leaves_no_folder_and_continues(tmp_path):
    archive = zipped(tmp_path / "a.zip", {f"{i}.png": bytes([i]) * 100 for i in range(9)})
    calls = 0

    def kill(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack([archive], tmp_path / "out", kill)
    assert not (tmp_path / "out").exists()
    partial = tmp_path / ".out.partial"
    done = {path.name: path.stat().st_mtime_ns for path in partial.glob("*.png")}
    assert len(done) == 5
    (partial / "8.png").write_bytes(b"half")
    folder = unpack([archive], tmp_path / "out")
    assert contents(folder) == {f"{i}.png": bytes([i]) * 100 for i in range(9)}
    assert {name: (folder / name).stat().st_mtime_ns for name in done} == done, (
        "written a second time"
    )
    assert not partial.exists()


def test_only_the_same_unpacked_archive_is_used_again(tmp_path):
    archive = zipped(tmp_path / "a.zip", FILES)
    folder = unpack([archive], tmp_path / "out")
    (folder / "mine.txt").write_text("kept")
    assert unpack([archive], tmp_path / "out") == folder
    assert (folder / "mine.txt").read_text() == "kept"
    other = zipped(tmp_path / "b.zip", {"x": b"x"})
    with pytest.raises(ValueError, match=r"is there already and does not come from b\.zip"):
        unpack([other], tmp_path / "out")


def test_half_of_another_archive_does_not_get_in(tmp_path):
    partial = tmp_path / ".out.partial"
    partial.mkdir()
    (partial / archives.STAMP_FILE).write_text(json.dumps({"other.zip": 3}))
    (partial / "stranger.png").write_bytes(b"")
    assert contents(unpack([zipped(tmp_path / "a.zip", FILES)], tmp_path / "out")) == FILES


def test_a_checksum_is_compared(tmp_path):
    file = tmp_path / "a.zip"
    file.write_bytes(b"content")
    check_digest(file, "sha256", hashlib.sha256(b"content").hexdigest().upper())
    check_digest(file, "md5", hashlib.md5(b"content").hexdigest())
    with pytest.raises(ValueError, match=r"its sha256 is ed7002.*, expected 00ff.*--no-checksum"):
        check_digest(file, "sha256", "00ff")


def test_an_encrypted_archive_is_told(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"a.png": b"1"})
    data = bytearray(archive.read_bytes())
    data[6] |= 1  # the flag of the local header
    data[data.index(b"PK\x01\x02") + 8] |= 1  # and of the directory
    archive.write_bytes(data)
    with pytest.raises(ValueError, match=r"cannot be unpacked .*password"):
        unpack([archive], tmp_path / "out")


def test_archives_are_known_by_name_in_any_case(tmp_path):
    for name in ("A.ZIP", "b.Tar.Gz", "c.tgz"):
        (tmp_path / name).touch()
        assert is_archive(tmp_path / name)
    for name in ("d.png", "e.rar"):
        (tmp_path / name).touch()
        assert not is_archive(tmp_path / name)
    (tmp_path / "folder.zip").mkdir()
    assert not is_archive(tmp_path / "folder.zip")
