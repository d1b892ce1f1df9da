#!/usr/bin/env bash
# The talk's demo: a database moves to another host, with its address and its data, by nothing but
# docker commands.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
    cat <<'TEXT'
usage: run.sh COMMAND

  demo                  all of it, step by step; with TEST_MODE=1 it waits for no key
  start-api disk|ssd    the database, on the node with that storage
  stop-api
  start-server          the web server, on the node with storage=disk
  stop-server
  hit-http              asks the web server for a page, which counts in the database
  ps                    the containers
  info                  the nodes
  build                 the images, on each node, from what registries have

DOCKER_HOST may name a Swarm, which then chooses the node. Otherwise each node is asked for its
label; POWERSTRIP_NODES says where they are, as NAME=DOCKER_HOST NAME=DOCKER_HOST. Where neither is
set, both are read from /etc/powerstrip/demo, if that is there.
TEXT
}

API=10.255.0.10
SERVER=10.255.0.11
VISITOR=10.255.0.12
PREFIX=24

# --- What is told ---------------------------------------------------------------------------------

bold='' dim='' cyan='' plain=''
if [[ -t 1 && -z ${NO_COLOR-} ]]; then # https://no-color.org
    bold=$'\e[1m' dim=$'\e[2m' cyan=$'\e[36m' plain=$'\e[0m'
fi
steps=0

fail() {
    echo "run.sh: $*" >&2
    exit 1
}

title() {
    printf '%s%s\n%s%s\n' "$bold" "$1" "${1//?/=}" "$plain"
}

step() { # step TITLE SENTENCE
    if ((steps++)) && [[ ${TEST_MODE-} != 1 ]]; then
        read -rsp $'\n'"   ${dim}press enter$plain" || true
        echo
    fi
    printf '\n%s%d. %s%s\n' "$bold" "$steps" "$1" "$plain"
    fold -s -w 77 <<<"$2" | indented
}

indented() {
    sed 's/^/   /; s/ *$//'
}

# A command as one could type it: what is too wide goes on in a new line, and an option stays with
# what it is given.
show() { # show MACHINE WORD...
    local line="   $1\$ docker" word
    shift
    while (($#)); do
        word=$(quoted "$1")
        if [[ $1 == -? ]] && (($# > 1)); then
            shift
            word+=" $(quoted "$1")"
        fi
        shift
        if ((${#line} + ${#word} > 77)); then
            echo "$cyan$line \\$plain"
            line='      '
        fi
        line+=" $word"
    done
    echo "$cyan$line$plain"
}

quoted() {
    if [[ $1 =~ ^[A-Za-z0-9_./:=@,+-]+$ ]]; then printf '%s' "$1"; else printf "'%s'" "$1"; fi
}

# --- Where it runs --------------------------------------------------------------------------------

machines=()     # what docker commands go to: all nodes, or the one Swarm
declare -A host # each one's DOCKER_HOST, a Swarm's nodes' too
nodes=()
declare -A labelled # the node with a label, where no Swarm knows

find_cluster() {
    local settings=/etc/powerstrip/demo
    if [[ -z ${POWERSTRIP_NODES-}${DOCKER_HOST-} && -r $settings ]]; then
        # shellcheck source=/dev/null
        source "$settings"
    fi
    local node
    for node in ${POWERSTRIP_NODES:-node1=tcp://172.16.255.251:2375 node2=tcp://172.16.255.252:2375}; do
        [[ $node == ?*=?* ]] || fail "POWERSTRIP_NODES: not NAME=DOCKER_HOST: $node"
        nodes+=("${node%%=*}")
        host[${node%%=*}]=${node#*=}
    done
    machines=("${nodes[@]}")
    if [[ -n ${DOCKER_HOST-} ]]; then
        host[swarm]=$DOCKER_HOST
        local version
        version=$(ask swarm version --format '{{.Server.Version}}') ||
            fail "nothing answers at DOCKER_HOST=$DOCKER_HOST"
        # As in "swarm/1.2.9": Swarm as it was before it became a part of the engine.
        if [[ $version == swarm/* ]]; then machines=(swarm); fi
    fi
}

# A docker command that is part of the story.
run() { # run MACHINE WORD...
    show "$@"
    ask "$@" 2>&1 | indented || fail "docker has failed on $1"
}

# A docker command that is not.
ask() { # ask MACHINE WORD...
    DOCKER_HOST=${host[$1]} docker "${@:2}"
}

# The machine to start a container on, and what tells a Swarm which node.
choose() { # choose STORAGE: sets machine and constraint
    local label=storage=$1 node
    constraint=()
    if [[ ${machines[0]} == swarm ]]; then
        machine=swarm
        constraint=(-e "constraint:storage==$1")
        return
    fi
    for node in "${nodes[@]}"; do
        [[ -z ${labelled[$label]-} ]] || break
        read_labels "$node"
    done
    machine=${labelled[$label]-}
    [[ -n $machine ]] || fail "no node has the label $label: ${nodes[*]}"
}

read_labels() { # read_labels NODE
    local labels one
    labels=$(ask "$1" info --format '{{range .Labels}}{{println .}}{{end}}') ||
        fail "$1 does not answer at ${host[$1]}"
    for one in $labels; do
        labelled[$one]=${labelled[$one]-$1}
    done
}

find_container() { # find_container NAME: sets machine
    for machine in "${machines[@]}"; do
        if ask "$machine" container inspect "demo-$1" &>/dev/null; then return; fi
    done
    return 1
}

# --- What one can do ------------------------------------------------------------------------------

start() { # start STORAGE NAME ADDRESS WORD...
    choose "$1"
    run "$machine" run --detach --name "demo-$2" --pull never \
        ${constraint[@]+"${constraint[@]}"} -e "WEAVE_CIDR=$3/$PREFIX" "${@:4}"
}

stop() { # stop NAME
    find_container "$1" || fail "there is no demo-$1"
    run "$machine" stop "demo-$1"
    run "$machine" rm "demo-$1"
}

start_api() { # start_api STORAGE
    start "$1" api "$API" -v /flocker/data1:/data powerstrip-demo-redis
}

stop_api() {
    stop api
}

start_server() {
    start disk server "$SERVER" -e "DATABASE=$API" powerstrip-demo-server
}

stop_server() {
    stop server
}

start_visitor() {
    start ssd visitor "$VISITOR" powerstrip-demo-server visit "http://$SERVER/"
}

# Any machine that runs docker commands can ask so, whatever networks it is on.
hit_http() {
    local words=(exec demo-server wget -q -O - "http://$SERVER/") page attempt
    find_container server || fail "there is no demo-server"
    show "$machine" "${words[@]}"
    for ((attempt = 1; ; attempt++)); do
        if page=$(ask "$machine" "${words[@]}" 2>&1); then break; fi
        ((attempt < 50)) || fail "the web server has no page: $page"
        sleep 0.1
    done
    indented <<<"$page"
}

ps() {
    local each
    for each in "${machines[@]}"; do
        run "$each" ps --format '{{.Names}}: {{.Image}}, {{.Status}}'
    done
}

info() {
    local each
    for each in "${machines[@]}"; do
        echo "   $each is ${host[$each]}"
        run "$each" info --format '{{.ServerVersion}} {{.Labels}}'
    done
}

build() {
    local each image
    for each in "${nodes[@]}"; do
        for image in redis server; do
            run "$each" build --quiet --tag "powerstrip-demo-$image" "demo/images/$image"
        done
    done
}

# --- The demo -------------------------------------------------------------------------------------

demo() {
    title 'A database moves to another host, with its address and its data'
    remove_leftovers
    step 'Three machines' \
        'The docker client speaks to Powerstrip on each node, and to nothing else.'
    info
    step 'The database, on the node with storage=disk' \
        "One docker run: an address from weave, $API, and a volume from flocker."
    start_api disk
    step 'A web server beside it' \
        'For each page it counts a visit in the database, which it knows by its address.'
    start_server
    hit_http
    hit_http
    step 'A visitor, on the other node' \
        'It asks again and again, and notes when each visit was counted.'
    start_visitor
    sleep 1
    hit_http
    step 'The database moves to the node with storage=ssd' \
        'It is stopped here and started there. Nobody tells the web server or the visitor.'
    stop_api
    start_api ssd
    step 'The web server counts on' \
        'The data has come along with the volume, and so has the address.'
    hit_http
    sleep 1
    hit_http
    ps
    step 'What the visitor saw' \
        'The longest time without a counted visit is the one in which the database moved.'
    prove
}

remove_leftovers() {
    local name
    for name in visitor server api; do
        if find_container "$name"; then
            ask "$machine" stop "demo-$name" >/dev/null
            ask "$machine" rm "demo-$name" >/dev/null
        fi
    done
}

# POWERSTRIP_MOVED may be a command that says how much the move has sent: all of it, what of it while
# the database ran, and what while it was stopped, in a line each.
prove() {
    local seen visits before after silence lost moved=()
    find_container visitor || fail 'there is no demo-visitor'
    ask "$machine" stop demo-visitor >/dev/null
    seen=$(ask "$machine" logs demo-visitor | awk -f demo/visits.awk)
    ask "$machine" rm demo-visitor >/dev/null
    [[ -n $seen ]] || fail 'the visitor saw no two pages'
    read -r visits before after silence lost <<<"$seen"
    if [[ -n ${POWERSTRIP_MOVED-} ]]; then
        mapfile -t moved < <($POWERSTRIP_MOVED)
        ((${#moved[@]} == 3)) || fail "does not say what has moved: $POWERSTRIP_MOVED"
    fi
    indented <<TEXT
visits counted    $visits, of which the database has forgotten $lost
count             $before before the move, $after after it
address           $API, before and after
no answer for     $silence s
TEXT
    [[ -z ${moved[*]-} ]] || indented <<TEXT
moved             ${moved[1]} while the database ran,
                  and ${moved[2]} while it was stopped
TEXT
    ((lost == 0)) || fail "the database has forgotten $lost visits"
    ((after > before)) || fail "the count went from $before to $after"
    echo
    echo "${bold}Proved: count $before, then $after, at $API; ${moved:+$moved moved, }$silence s silent.$plain"
}

main() {
    case $* in
    demo | 'start-api disk' | 'start-api ssd' | stop-api | start-server | stop-server | hit-http | ps | info | build)
        command -v docker >/dev/null || fail 'there is no docker client here'
        find_cluster
        "${1//-/_}" "${@:2}"
        ;;
    help | -h | --help) usage ;;
    '')
        usage >&2
        exit 2
        ;;
    *) fail "not a command: $* (run.sh help shows them)" ;;
    esac
}

main "$@"
