"""A page to look at, read only: Datasette over the history, with charts and the search of `lmtpd trace`."""
