"""The administrator's commands, one module each: ``main(argv) -> exit code``."""
