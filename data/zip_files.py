"""Opens zip archives, damaged ones too."""

import os
import zipfile
from pathlib import Path
from typing import IO


def open_zip(file: Path | IO[bytes]) -> zipfile.ZipFile:
    """Opens an archive for reading.

    Reading a member takes as much memory as the archive's directory says, even if there is less to
    read.

    Raises:
      zipfile.BadZipFile: it is no archive, or a member does not lie within it.
    """
    archive = zipfile.ZipFile(file)
    size = archive.fp.seek(0, os.SEEK_END) if archive.fp else 0
    if any(info.header_offset + info.compress_size > size for info in archive.infolist()):
        archive.close()
        raise zipfile.BadZipFile("a member is longer than the archive")
    return archive
