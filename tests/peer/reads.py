"""Print what damo would write for its files, line by line, in a mount namespace of its own.

damo is imported for its reading and its order of writes; each of its reads and writes of files
is answered from a table, so nothing is staged. Should one escape, DAMON's directory is masked:
without that this program ends before it imports anything. It takes requests as JSON on stdin,
``{"text": …, "form": "json" | "yaml", "dump": null | "raw" | "people"}``, and answers each with
``{"files": {path: value}}``, ``{"refused": why}``, or with ``dumped`` beside them.
"""

from __future__ import annotations

import json
import os
import sys

DAMON = "/sys/kernel/mm/damon"
MASKED = (DAMON, "/sys/kernel/debug")
TREE = f"{DAMON}/admin/kdamonds"


def masked(place: str) -> bool:
    """Return whether a place is not what the kernel has there: another device than /sys, and a sign."""
    try:
        apart = os.stat(place).st_dev != os.stat("/sys/kernel").st_dev
    except FileNotFoundError:
        return True
    return apart and os.path.exists(f"{place}/masked")


def main(home: str) -> None:
    """Answer until stdin ends."""
    if not all(map(masked, MASKED)):
        sys.exit("DAMON's directory is not masked: damo is not imported")
    sys.path[:0] = [f"{home}/damo", home]
    sys.dont_write_bytecode = True
    import _damo_fs
    import _damon
    import _damon_sysfs

    written: dict[str, str] = {}

    def write(path: str, content: str) -> None:
        written[path] = content.strip()

    def read(path: str) -> tuple[str, None]:
        return written.get(path, "0"), None

    _damo_fs.write_file, _damo_fs.read_file = write, read
    there = os.path.isfile

    def has(path: str) -> bool:
        if path.startswith(TREE):
            return "operations_attrs" not in path
        return there(path)

    _damon_sysfs.os.path.isfile = _damon_sysfs.os.path.isdir = has
    _damon_sysfs.sysfs_root = "/sys"
    for line in sys.stdin:
        request = json.loads(line)
        written.clear()
        answer: dict[str, object] = {}
        try:
            kdamonds = _read(request["text"], request["form"], _damon)
            if request.get("dump"):
                raw = request["dump"] == "raw"
                dumped = [each.to_kvpairs(raw, params_only=True) for each in kdamonds]
                answer["dumped"] = json.dumps({"kdamonds": dumped})
            error = _damon_sysfs.stage_kdamonds(kdamonds)
            answer["files"] = {
                path.removeprefix(f"{TREE}/"): text for path, text in written.items()
            }
            if error:
                answer["refused"] = error
        except Exception as error:  # noqa: BLE001  # whatever stops damo is its answer
            answer["refused"] = repr(error)
        print(json.dumps(answer), flush=True)


def _read(text: str, form: str, damon):
    """Return kdamonds, or those of a list of schemes, as damo's options make them."""
    if form == "yaml":
        import yaml

        data = yaml.safe_load(text)
    else:
        data = json.loads(text)
    if isinstance(data, list):
        schemes = [damon.Damos.from_kvpairs(each) for each in data]
        target = damon.DamonTarget(None, [damon.DamonRegion(4096, 8192)])
        context = damon.DamonCtx("paddr", [target], schemes=schemes)
        return [damon.Kdamond(None, None, [context])]
    return [damon.Kdamond.from_kvpairs(each) for each in data["kdamonds"]]


if __name__ == "__main__":
    main(sys.argv[1])
