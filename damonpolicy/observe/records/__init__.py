"""Records of snapshots, in files of any form."""
