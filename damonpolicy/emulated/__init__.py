"""Floor 2: a whole emulated machine behind the protocol of ``kernel/system/machine.py``."""
