"""What a command line takes and shows: arguments and their complaints, tables."""
