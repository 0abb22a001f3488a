// What `muster` says and sees of assertions: list, watch, wait, assert, send, status --debt. Each
// gives the exit status.
#pragma once

#include "services/muster/arguments.h"
#include "services/muster/bus.h"
#include "services/muster/watch.h"

namespace muster::command {

int list(Bus& bus, const Arguments& arguments);
int watch(Bus& bus, const Arguments& arguments);
// The same again after the second stage was: only what is different is printed.
int watch_on(Bus& bus, const Arguments& arguments, Watching& watching);
int wait(Bus& bus, const Arguments& arguments);
int assert_values(Bus& bus, const Arguments& arguments);
int send(Bus& bus, const Arguments& arguments);
int debts(Bus& bus, bool as_json);

// A line on stdout: BEFORE and the text of the value.
void print(const char* before, preserves::View value);

} // namespace muster::command
