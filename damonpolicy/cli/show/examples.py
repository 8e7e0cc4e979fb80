"""Examples for the help of every command; each can be typed as shown."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ("EXAMPLES", "epilog")

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "": ("damonpolicy init ksm", "damonpolicy plan ksm.yaml --kernel emulated:7.3"),
    "init": ("damonpolicy init", "damonpolicy init ksm"),
    "validate": (
        "damonpolicy validate ksm.yaml",
        "damonpolicy validate ksm.yaml --kernel emulated:6.12 --kernel emulated:7.3",
    ),
    "plan": (
        "damonpolicy plan ksm.yaml --set cold_for=10m",
        "damonpolicy plan ksm.yaml --out ksm.plan",
        "damonpolicy plan --remove ksm",
    ),
    "apply": (
        "damonpolicy apply ksm.yaml",
        "damonpolicy apply ksm.yaml --confirm-within 60s",
        "damonpolicy apply --plan ksm.plan",
    ),
    "run": ("damonpolicy run", "damonpolicy run policies.d --metrics 127.0.0.1:9105"),
    "confirm": ("damonpolicy confirm",),
    "rollback": ("damonpolicy rollback", "damonpolicy rollback 3 --dry-run"),
    "recover": ("damonpolicy recover",),
    "history": ("damonpolicy history", "damonpolicy history ksm"),
    "show": ("damonpolicy show ksm", "damonpolicy show 3"),
    "status": ("damonpolicy status", "damonpolicy status ksm --update"),
    "diff": ("damonpolicy diff", "damonpolicy diff ksm.yaml"),
    "remove": ("damonpolicy remove ksm", "damonpolicy remove ksm --dry-run"),
    "stop": ("damonpolicy stop --all", "damonpolicy stop --all --dry-run"),
    "record": ("damonpolicy record --for 10m --out night.parquet",),
    "report": ("damonpolicy report wss", "damonpolicy report heatmap night.parquet"),
    "report snapshot": ("damonpolicy report snapshot",),
    "report histogram": ("damonpolicy report histogram night.parquet",),
    "report wss": ("damonpolicy report wss", "damonpolicy report wss night.parquet"),
    "report heatmap": ("damonpolicy report heatmap night.parquet --out night.html",),
    "report rank": ("damonpolicy report rank",),
    "report numa": ("damonpolicy report numa",),
    "top": ("damonpolicy top",),
    "convert": ("damonpolicy convert night.parquet night.json",),
    "import": ("damonpolicy import", "damonpolicy import damo.json"),
    "render": (
        "damonpolicy render reclaim.yaml --script > reclaim.sh",
        "damonpolicy render reclaim.yaml --cmdline",
    ),
    "features": ("damonpolicy features", "damonpolicy features sample.write"),
    "doctor": ("damonpolicy doctor",),
    "emulate": ("damonpolicy emulate forward 25m --kernel emulated:7.3",),
    "emulate reboot": ("damonpolicy emulate reboot --kernel emulated:7.3",),
    "emulate start": (
        "damonpolicy emulate start redis-server --kernel emulated:7.3",
        "damonpolicy emulate start redis-server --area size=64MiB,rate=80% --kernel emulated:7.3",
    ),
    "emulate exit": ("damonpolicy emulate exit 811 --kernel emulated:7.3",),
    "emulate read": ("damonpolicy emulate read /proc/meminfo --kernel emulated:7.3",),
    "emulate write": ("damonpolicy emulate write /sys/kernel/mm/ksm/run 0 --kernel emulated:7.3",),
    "emulate forward": ("damonpolicy emulate forward 25m --kernel emulated:7.3",),
    "explain": ("damonpolicy explain quota.size", "damonpolicy explain DP0217"),
    "schema": ("damonpolicy schema", "damonpolicy schema output status"),
    "completion": ("source <(damonpolicy completion bash)",),
}
"""By the name of the command, those of groups by both names."""


def epilog(name: str) -> str:
    """Return the text below a command's help; click keeps the lines after the mark."""
    lines = EXAMPLES[name]
    title = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(["\b", title, *(f"  {line}" for line in lines)])
