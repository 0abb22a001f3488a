#!/bin/sh
# A producer at full speed and a slow consumer, for as long as `make test` has.
set -eu
name="flow control: memory stays flat, and nothing is lost"
if said=$("$(dirname "$0")/flow-control-soak" --short 2>&1); then
    echo "ok $name"
else
    echo "not ok $name: $said" | tr '\n' ' '
    echo
fi
