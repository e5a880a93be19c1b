"""Other projects' vocoders beside this one: one process for each package, and what it is asked."""
