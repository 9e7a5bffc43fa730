"""moxing.file: the names of ascend.md 5.2, nothing else."""

from moxing.framework.file.copying import copy, copy_parallel, rename
from moxing.framework.file.errors import (
    MoxFileNameDuplicateException,
    MoxFileNotExistsException,
    MoxFileReadException,
    MoxFileRespException,
)
from moxing.framework.file.file_io import (
    File,
    append,
    append_remote,
    exists,
    get_size,
    glob,
    is_directory,
    list_directory,
    make_dirs,
    mk_dir,
    read,
    remove,
    scan_dir,
    set_auth,
    shift,
    stat,
    walk,
    write,
)

__all__ = [
    "File", "MoxFileNameDuplicateException", "MoxFileNotExistsException",
    "MoxFileReadException", "MoxFileRespException", "append",
    "append_remote", "copy", "copy_parallel", "exists", "get_size", "glob",
    "is_directory", "list_directory", "make_dirs", "mk_dir", "read",
    "remove", "rename", "scan_dir", "set_auth", "shift", "stat", "walk",
    "write"]
