"""Mailboxes on disk: knows no addresses, no reply codes, no LMTP."""
