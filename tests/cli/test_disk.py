from __future__ import annotations

from pathlib import Path

import pytest

from watchword.cli import disk

MOUNTS = """\
22 1 0:21 / / rw - ext4 /dev/vda rw
30 22 0:40 / /srv rw,relatime shared:1 - nfs4 host:/srv rw
31 30 0:41 / /srv/local rw - ext4 /dev/vdb rw
32 22 0:42 / /mnt/my\\040share rw - cifs //host/share rw
33 22 0:43 / /over rw - nfs host:/over rw
34 22 0:44 / /over rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/watchword.db", "nfs4"),
        ("/srv/local/watchword.db", None),
        ("/srvother/watchword.db", None),
        ("/mnt/my share/w.db", "cifs"),
        ("/over/w.db", None),
        ("/var/w.db", None),
    ],
)
def test_the_innermost_and_latest_mount_decides(path: str, kind: str | None) -> None:
    assert disk.network_file_system(Path(path), MOUNTS) == kind


def test_this_machine_is_read_without_an_argument(tmp_path: Path) -> None:
    disk.network_file_system(tmp_path / "x.db")


@pytest.mark.attack("S-07")
def test_files_that_others_can_read_are_found(tmp_path: Path) -> None:
    database = tmp_path / "w.db"
    for name, mode in (("w.db", 0o600), ("w.db-wal", 0o640), ("w.db-limits", 0o604)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    found = disk.files(str(database))
    assert len(found) == 3
    assert {path.name for path in disk.too_open(found)} == {"w.db-wal", "w.db-limits"}
