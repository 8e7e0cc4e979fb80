"""The machine beside DAMON: its files, processes, cgroups, nodes and memory."""
