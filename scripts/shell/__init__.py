"""What the admin scripts share: which Maildirs, with whose rights, how many at once, and what is printed.

A script gives `scripts.shell.work.Run.go` a *job*, a generator that is handed one open Maildir and yields
facts. The job runs in a worker process with the rights of the Maildir's owner; the facts are printed here.
"""
