"""The command line: one subcommand a file, all listed in `program.COMMANDS`.

The only reader of argv and environment. Every command is a row of a table (`command.Command`): its words, its options
and the function that runs it with a `Context`. Whatever is slow to import is imported by the function that needs it.
"""
