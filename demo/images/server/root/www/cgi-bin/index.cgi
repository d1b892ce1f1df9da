#!/bin/sh
# The page: has the database add one to the visits, and says how many there are.
#
# Nobody waits longer than 0.3 s for it: while the database moves, the first packet of a connection
# is lost, and would be sent again only after 1 s. timeout counts whole seconds.
answer=$(
    nc "$DATABASE" 6379 2>/dev/null <<END &
INCR visits
QUIT
END
    asked=$!
    {
        sleep 0.3
        kill $asked
    } >/dev/null 2>&1 &
    wait $asked
    kill $!
)
# Redis's way to answer a number is ":5".
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
