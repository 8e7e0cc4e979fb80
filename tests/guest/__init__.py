"""Real kernels under QEMU: the harness, and in inside/ what runs in the guests."""
