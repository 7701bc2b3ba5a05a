# Where cargo builds; `make demo` starts what it built.
TARGET = $${CARGO_TARGET_DIR:-target}

.PHONY: help setup demo test bench fuzz lint

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: ## fetch what the build does not: ONNX Runtime, Postgres, a browser for the tests
	scripts/setup.sh

demo: ## a running server with a worker and a challenge to look at; Ctrl-C stops it
	UPSCORE_SETUP=server scripts/setup.sh
	cargo build
	exec $(TARGET)/debug/upscore demo

test: setup ## every test, the browser flows included
	scripts/test.sh

bench: ## the benchmarks, figures to stdout
	UPSCORE_SETUP=server scripts/setup.sh
	cargo bench

fuzz: ## mutated archives, readmes, PNGs and models for a minute each; FUZZ_SECONDS=300 for longer
	cp Cargo.lock fuzz/Cargo.lock
	cd fuzz && cargo run --bin upscore-fuzz -- $${FUZZ_SECONDS:-60}

lint: ## format, clippy and documentation, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
