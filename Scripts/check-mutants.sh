#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) the s3backer authors
#
# Plants bugs, one at a time, in a copy of the tree, and sees that the tests catch each.
#
# usage: Scripts/check-mutants.sh [NAME ...]      names of files in Scripts/mutants, without .patch; without one, all
#
# A mutant is a file Scripts/mutants/NAME.patch: two lines of head, an empty line, and a unified diff (`git diff`):
#
#   Mutant: what the bug is, in one sentence
#   Tests: the regular expression that `swift test --filter` takes
#
#   --- a/Sources/...
#   +++ b/Sources/...
#
# A mutant is caught when it compiles and the tests fail or hang. One that does not apply or does not compile is an error of
# its own: the patch has to follow the code. The tests must pass without any mutant first, or a failure would prove nothing.
#
# The copy stands in .build/mutants, so that a second run compiles only what changed. MUTANT_TIMEOUT: seconds for the tests of
# one mutant [120], or four times what they take without it, if that is more. S3BACKER_SIM_SEEDS: how many seeds of the
# simulation a mutant has to survive [300].

set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
patches=${MUTANTS_DIR:-$top/Scripts/mutants}
limit=${MUTANT_TIMEOUT:-120}
work=$top/.build/mutants
tree=$work/tree
log=$work/log
export SWIFT_BACKTRACE=enable=no
export S3BACKER_SIM_SEEDS=${S3BACKER_SIM_SEEDS:-300}

field() { sed -n "s/^$2: //p;/^---/q" "$1" | head -n 1; }

# The files that git knows or would know, as they are now. A file keeps its time, unless its bytes differ.
copy_tree() {
    mkdir -p "$tree"
    (cd "$tree" && find . -path ./.build -prune -o -type f -print0) | while IFS= read -r -d '' file; do
        [ -f "$top/$file" ] || rm -f "$tree/$file"
    done
    git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
        [ -f "$file" ] || continue
        cmp -s "$file" "$tree/$file" || install -D -m "$(stat -c %a "$file")" "$file" "$tree/$file"
    done
    # The packages are there already: no network.
    if [ -d .build/checkouts ] && [ ! -d "$tree/.build/checkouts" ]; then
        mkdir -p "$tree/.build"
        cp -a .build/checkouts .build/repositories .build/workspace-state.json "$tree/.build/"
    fi
    if [ -f Package.resolved ]; then cp -p Package.resolved "$tree/"; fi
}

compile() { (cd "$tree" && swift build --build-tests >"$log" 2>&1); }

# The tests run in a session of their own: what hangs may have left the group that timeout(1) ends.
session=''
end_session() {
    if [ -n "$session" ]; then pkill -KILL -s "$session" || true; fi
    session=''
}
trap end_session EXIT
trap 'exit 130' INT TERM HUP

# run_tests FILTER SECONDS
run_tests() {
    local status=0
    (cd "$tree" && exec setsid timeout -k 5 "$2" swift test --skip-build --disable-xctest --filter "$1" >"$log" 2>&1) &
    session=$!
    wait "$session" || status=$?
    end_session
    return "$status"
}

if [ $# -gt 0 ]; then
    files=("${@/#/$patches/}")
    files=("${files[@]/%/.patch}")
else
    shopt -s nullglob
    files=("$patches"/*.patch)
fi
[ ${#files[@]} -gt 0 ] || { echo "check-mutants: no mutants in $patches" >&2 && exit 1; }

declare -A seconds=()
for file in "${files[@]}"; do
    [ -f "$file" ] || { echo "check-mutants: no file $file" >&2 && exit 2; }
    [ -n "$(field "$file" Mutant)" ] && [ -n "$(field "$file" Tests)" ] ||
        { echo "check-mutants: $file has no line \"Mutant: \" or no line \"Tests: \"" >&2 && exit 2; }
    seconds["$(field "$file" Tests)"]=0
done

copy_tree
echo "check-mutants: ${#files[@]} mutants; first the tests without any"
compile || { tail -n 30 "$log" && echo "check-mutants: the tree does not compile" >&2 && exit 1; }
for filter in "${!seconds[@]}"; do
    begun=$SECONDS
    run_tests "$filter" $((10 * limit)) ||
        { tail -n 30 "$log" && echo "check-mutants: the tests \"$filter\" fail without a mutant" >&2 && exit 1; }
    if grep -qaE 'Test run with 0 tests' "$log"; then echo "check-mutants: no test matches \"$filter\"" >&2 && exit 1; fi
    seconds["$filter"]=$((SECONDS - begun))
done
echo "check-mutants: the tests pass, in $SECONDS s"

# Which suites noticed, by the titles that they have in the sources.
noticed() {
    local suites
    suites=$(sed -nE 's/^✘ Suite "?([^"]*)"? failed after.*/\1/p' "$log" | sort -u | paste -sd ';' | sed 's/;/; /g')
    echo "${suites:-the process ended}"
}

failures=0
verdict() {
    printf '%-10s %-34s %s\n' "$1" "$(basename "$2" .patch)" "$3"
    case $1 in caught) ;; *) failures=$((failures + 1)) ;; esac
}
for file in "${files[@]}"; do
    copy_tree
    if ! patch -d "$tree" -p1 --forward --no-backup-if-mismatch --batch <"$file" >"$log" 2>&1; then
        verdict STALE "$file" "the patch does not apply"
        sed 's/^/    /' "$log"
        continue
    fi
    if ! compile; then
        verdict STALE "$file" "does not compile"
        grep -a 'error:' "$log" | head -n 5 | sed 's/^/    /'
        continue
    fi
    status=0
    filter=$(field "$file" Tests)
    patience=$((4 * ${seconds["$filter"]}))
    run_tests "$filter" $((patience > limit ? patience : limit)) || status=$?
    case $status in
    0) verdict SURVIVED "$file" "$(field "$file" Mutant)" ;;
    124 | 137) verdict caught "$file" "$(field "$file" Mutant) (the tests hung)" ;;
    *)
        if grep -qaE 'Test run with 0 tests' "$log"; then
            verdict SURVIVED "$file" "no test matches its filter"
        else
            verdict caught "$file" "$(field "$file" Mutant) [$(noticed)]"
        fi
        ;;
    esac
done
copy_tree
[ "$failures" = 0 ] || { echo "check-mutants: $failures of ${#files[@]} not caught" >&2 && exit 1; }
echo "check-mutants: all ${#files[@]} caught"
