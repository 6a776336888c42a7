#!/usr/bin/env bash
# fuzz_crdt.sh [SECONDS] [CORPUS]: builds the fuzzer of src/crdt (clang-22, ASan, UBSan) and runs it. New inputs go to
# CORPUS, which otherwise is a temporary directory; src/crdt/corpus is read first.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
out=build/fuzz
mkdir -p "$out"
corpus=${2:-$out/corpus}
mkdir -p "$corpus"
sources=()
for file in src/crdt/*.cpp; do
  [[ $file == *_test.cpp ]] || sources+=("$file")
done
clang++-22 -std=c++20 -g1 -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Wno-deprecated-declarations -Iinclude -Isrc \
  -o "$out/crdt_fuzz" "${sources[@]}" src/base/{bytes,environment,json,result}.cpp \
  -lboost_json -lfmt
exec "$out/crdt_fuzz" -max_total_time="$seconds" -rss_limit_mb=1024 -timeout=10 -max_len=4096 -print_final_stats=1 -artifact_prefix="$out/" \
  "$corpus" src/crdt/corpus
