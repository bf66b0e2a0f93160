# make run    starts Mandant; make test    checks it. Both install what they need into .venv.
PORT ?= 8501
ADDRESS ?= 127.0.0.1
CUSTOMERS ?= 100000
SHELL = /bin/sh
# The first Python on the path that is new enough (a version manager's shim may exist and yet run nothing).
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
export PORT PORTAL_PORT ADDRESS DATABASE_URL

.PHONY: run test lint bench demo
.SILENT:

run: .venv/installed
	exec .venv/bin/python -m lib.local

# Compiled modules are kept, whatever the machine's habit: each worker and server of the tests would compile them anew.
test: export PYTHONDONTWRITEBYTECODE =
test: .venv/installed
	.venv/bin/python tests/browser/chromium.py
	.venv/bin/python -m pytest -n auto $(ARGS)

lint: .venv/installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check --quiet .
	.venv/bin/mypy

bench: .venv/installed
	.venv/bin/python -m bench

demo: .venv/installed
	.venv/bin/python -m lib demo --customers $(CUSTOMERS)

.venv/installed: requirements.txt
	test -n "$(PYTHON)" || { echo "Mandant needs Python 3.11 or newer; none was found on the path."; exit 1; }
	test -x .venv/bin/python || $(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "Python can't make a virtual environment. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	echo "Installing what requirements.txt names …"
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@
