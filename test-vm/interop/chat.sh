#!/bin/sh
# A third one in the chat: says hello to whoever says hello, and misses those who leave.
. "$MUSTER_LIB/muster.sh"

says() { muster_send room "<Says \"shell\" $(muster_string "$1")>"; }
joined() { :; }
left() { says "where is $1?"; }
heard() {
    case $2 in
    hello*) [ "$1" = shell ] || says "hello $1" ;;
    esac
}

muster_assert room me '<Present "shell">'
muster_on room '<Present ?who>' joined left
muster_on_message room '<Says ?who ?what>' heard
muster_ready
muster_run
