# make run    try it: a server on ./run/lmtpd.sock and 127.0.0.1:2424 (PORT=... for another), Python 3.11+ is enough
# make test   install what the tests use (Debian packages where it may) and run them all
# make bench  lmtpd beside Dovecot, Postfix's virtual(8) and the bare file system; some 20 minutes (ARGS=--help)
# make soak   the crash tests at every point, 100,000 messages under random kills, fuzzing; hours. PARTS="kills cuts"
#             plays some of it (ARGS=--help lists all); what has passed for a commit is not played again
# make comparison  the same crashes for lmtpd, Dovecot and Postfix: README's table; as root, ten minutes
# make check  formatting, lint, types, import rules
# make man     manual pages and shell completion of all commands, in build/share/
# make docs   the documentation as web pages, in build/docs/
# make clean  remove the environment and everything made below ./run/

PYTEST = .venv/bin/python -m pytest
# Waiting for disks and other programs, the tests use less than half a core each.
TEST_PROCESSES ?= 4

.PHONY: docs man run test soak comparison bench check packages clean

run: .venv/.installed
	@exec .venv/bin/python .ci/try.py

test: .venv/.installed-dev packages
	$(PYTEST) -n $(TEST_PROCESSES) --dist loadgroup $(ARGS)

soak: .venv/.installed-dev packages
	@.venv/bin/python -m tests.crash.campaign $(PARTS) $(ARGS)

comparison: .venv/.installed-dev packages
	@.venv/bin/python -m tests.crash.comparison $(ARGS)

bench: .venv/.installed-dev packages
	@.venv/bin/python -m tests.bench $(ARGS)

check: .venv/.installed-dev
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	$(PYTEST) -q -p no:xdist tests/test_imports.py tests/test_house_rules.py

man: .venv/.installed
	@.venv/bin/lmtpd manual build/share

docs: .venv/.installed-docs
	@.venv/bin/mkdocs build --quiet --strict
	@echo build/docs/index.html

packages:
	@.ci/packages

.venv/.installed: pyproject.toml .ci/venv
	@.ci/venv

.venv/.installed-docs: pyproject.toml .ci/venv
	@.ci/venv docs

.venv/.installed-dev: pyproject.toml .ci/venv
	@.ci/venv dev

clean:
	rm -rf .venv run build
