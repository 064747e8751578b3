"""Archives, unpacked once."""

import hashlib
import os
import shutil
import tarfile
import tempfile
from pathlib import Path


def cache_folder():
    """`LLIMA_CACHE`, else the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("LLIMA_CACHE") or Path(base) / "llima" / "python")


def safe(member):
    """Plain files that stay in the folder."""
    parts = Path(member.name).parts
    if not member.isfile() or member.name.startswith("/") or ".." in parts:
        raise SystemExit(f"the archive holds {member.name!r}, which is no plain file inside it")
    return member


def unpack(archive):
    """The folder with the archive's files. An archive that was written again is unpacked again."""
    try:
        facts = archive.stat()
    except FileNotFoundError:
        raise SystemExit(f"{archive} is not there; the COMPILE stage makes it") from None
    identity = f"{archive.resolve()} {facts.st_size} {facts.st_mtime_ns}"
    folder = cache_folder() / hashlib.sha256(identity.encode()).hexdigest()[:32]
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix="tmp-", dir=folder.parent))
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                target = temporary / safe(member).name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    shutil.copyfileobj(tar.extractfile(member), file, 1 << 20)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another run was faster
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder
