"""A kernel release directory: its image, unpacked once, and its modules in load order."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .errors import Unavailable
from .tools import Tools

__all__ = ("ELF", "has_modules", "load_order", "module_bytes", "release_of", "unpack")

ELF = "vmlinux.elf"
_ELF_MAGIC = b"\x7fELF"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_XZ_MAGIC = b"\xfd7zXZ\0"
# Offsets in the header of a bzImage (Documentation/arch/x86/boot.rst).
_SETUP_SECTS, _PAYLOAD_OFFSET, _PAYLOAD_LENGTH = 0x1F1, 0x248, 0x24C


def release_of(kernel: Path) -> str:
    """Return the release of a kernel directory, which is its name."""
    return kernel.name


def unpack(kernel: Path, tools: Tools) -> Path:
    """Write the ELF image that a vmlinuz holds beside it: it boots 1.2 s faster (PVH)."""
    images = [*kernel.glob("boot/vmlinuz-*"), *kernel.glob("usr/lib/modules/*/vmlinuz")]
    if not images:
        raise Unavailable(f"kernel {kernel.name}: its packages hold no vmlinuz")
    data = images[0].read_bytes()
    start = ((data[_SETUP_SECTS] or 4) + 1) * 512
    start += int(struct.unpack_from("<I", data, _PAYLOAD_OFFSET)[0])
    payload = data[start : start + int(struct.unpack_from("<I", data, _PAYLOAD_LENGTH)[0])]
    # The last four bytes are not the compressor's: the kernel appends the unpacked length.
    image = _decompress(payload[:-4], tools)
    if not image.startswith(_ELF_MAGIC):
        raise Unavailable(f"kernel {kernel.name}: no ELF image in {images[0].name}")
    path = kernel / ELF
    path.write_bytes(image)
    return path


def _decompress(data: bytes, tools: Tools) -> bytes:
    if data.startswith(_ZSTD_MAGIC):
        command = [*tools.zstd, "-dc"]
    elif data.startswith(_XZ_MAGIC):
        command = [*tools.xz, "-dc", "--single-stream"]
    else:
        return data
    # Not through Python's lzma: it is missing where Python was built without liblzma.
    return subprocess.run(command, input=data, capture_output=True, check=False).stdout


def _modules(kernel: Path) -> dict[str, Path]:
    files = kernel.glob("usr/lib/modules/*/kernel/**/*.ko*")
    return {_module_name(path.name): path for path in files}


def _module_name(text: str) -> str:
    return re.sub(r"\.ko(\.xz|\.zst)?$", "", text).replace("-", "_")


def _builtin(kernel: Path) -> set[str]:
    names: set[str] = set()
    for listing in kernel.glob("usr/lib/modules/*/modules.builtin"):
        lines = listing.read_text(encoding="utf-8").splitlines()
        names.update(_module_name(line.rsplit("/", 1)[-1]) for line in lines)
    return names


def has_modules(kernel: Path, names: Iterable[str]) -> bool:
    """Return whether all these modules come with the kernel; of some only the image is left."""
    have = _modules(kernel).keys() | _builtin(kernel)
    return all(_module_name(name) in have for name in names)


def module_bytes(path: Path, tools: Tools) -> bytes:
    """Return a module as the kernel loads it: uncompressed."""
    return _decompress(path.read_bytes(), tools)


def load_order(kernel: Path, wanted: Iterable[str], tools: Tools) -> list[tuple[str, bytes]]:
    """Return the modules and all they depend on, each after what it needs.

    Debian runs depmod at installation, so an extracted kernel has no modules.dep; the
    modules say it themselves.
    """
    files, builtin = _modules(kernel), _builtin(kernel)
    order: dict[str, bytes] = {}

    def add(name: str) -> None:
        name = _module_name(name)
        if name in order or name in builtin:
            return
        if name not in files:
            raise Unavailable(f"kernel {kernel.name} has no module {name}")
        content = module_bytes(files[name], tools)
        for key, value in re.findall(rb"\0(depends|softdep)=([^\0]*)", content):
            before = value.decode().replace("pre:", " ").split("post:")[0]
            for needed in re.split(r"[\s,]+", before):
                # A soft dependency is a wish: the kernel works without it.
                if needed and (key == b"depends" or _module_name(needed) in files):
                    add(needed)
        order[name] = content

    for name in wanted:
        add(name)
    return list(order.items())
