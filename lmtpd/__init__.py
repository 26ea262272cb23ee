"""lmtpd: an LMTP delivery agent for Maildir; a 250 means exactly one complete, durable copy."""

__version__ = "0.1.0"
