# The developer's commands. Each is a script of the same name below scripts/.
.PHONY: help install check lint test test-engine demo demo-up demo-down demo-shell demo-hooks bench record-hooks wait-for-weave clean

help:
	@echo 'make demo                    move a database to another host (root, Linux)'
	@echo 'make demo-up                 keep the machines of the demo for exploring'
	@echo 'make demo-shell NODE=node1   a shell on one of them: master, node1 or node2'
	@echo 'make demo-down               remove them'
	@echo 'make demo-hooks              watch a docker run pass through hooks (root, Linux)'
	@echo 'make test                    all tests, against a Docker Engine of their own'
	@echo 'make check                   ruff and mypy'
	@echo 'make lint                    reformat and mend what ruff can mend'
	@echo 'make install                 the virtual environment .venv'
	@echo 'make test-engine ENGINE=sid  the engine tests against another Docker Engine'
	@echo 'make bench                   measures powerstrip beside HAProxy, socat and mitmproxy'
	@echo 'make wait-for-weave          the static program that the weave adapter puts into containers'
	@echo 'make record-hooks            record the examples of docs/hook-protocol.md anew'
	@echo 'make clean                   remove .venv and what tools have left'

install check lint test demo demo-hooks bench record-hooks wait-for-weave:
	@scripts/$@

demo-up demo-down:
	@scripts/demo $(@:demo-%=%)

demo-shell:
	@scripts/demo shell $(or $(NODE),master)

test-engine:
	@scripts/test-engine $(ENGINE)

clean:
	rm -rf .venv adapters/weave/powerstrip_weave/programs build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -prune -exec rm -rf {} +
