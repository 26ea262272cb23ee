"""Everything observable: the log, the counters, the history that `lmtpd trace` reads."""
