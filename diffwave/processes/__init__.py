"""Worker processes of this machine: a pool that survives whatever its workers do, and how many there may be."""
