#!/bin/sh
# The page: has the database add one to the visits, and says how many there are.
#
# `:5` is Redis's way to answer a number. Nobody waits longer than 0.3 s for it: where the database
# has just moved, the next attempt comes through at once, and a lost packet is sent again after 1 s.
answer=$(printf 'INCR visits\r\nQUIT\r\n' | timeout 0.3 nc "$DATABASE" 6379 | tr -d '\r')
case $answer in
:*)
    count=${answer%%[!:0-9]*}
    printf 'Content-Type: text/plain\r\n\r\n'
    echo "visit ${count#:}, counted by the database at $DATABASE"
    ;;
*)
    printf 'Status: 503 Service Unavailable\r\nContent-Type: text/plain\r\n\r\n'
    echo "the database at $DATABASE does not answer"
    ;;
esac
