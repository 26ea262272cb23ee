"""The admin scripts: one module for each command, `main(argv) -> exit code`; thin over `storage`.

What all of them share, how Maildirs are chosen, worked on and reported, is in `scripts.shell`.
"""
