#!/bin/sh
# A cluster of processes: started, looked at, hurt, healed, stopped and started again with its data.
. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2154
do_cluster()
{
	"$VALENCE" cluster "$@" --dir "$cluster"
}

status_of()
{
	do_cluster status | awk -v name="$1" '$1 == name' | grep -oE ' (running|paused|stopped)' | tr -d ' '
}

is_status()
{
	[ "$(status_of "$1")" = "$2" ]
}

answers()
{
	[ "$(sql "$1" "$2" 2>/dev/null)" = "$3" ]
}

cluster_start --archives 1 --caches 2 -- --log info
same "members that c2 sees" "$(sql 2 "select string_agg(name, ' ' order by name) from valence.engines")" "a1 c1 c2"
sql 1 "create table t (a int primary key, b text); insert into t values (1, 'one'), (2, 'two')"
eventually 10 answers 2 "select count(*) from t" 2

# A second start of the same directory touches nothing, whatever its flags.
! "$VALENCE" cluster start --dir "$cluster" --base-port $((PORT_BASE + 20)) 2>"$TEST_DIR/err" || fail "started twice"
grep -q "a1 runs already" "$TEST_DIR/err" || fail "no reason: $(cat "$TEST_DIR/err")"
same "all run" "$(status_of a1) $(status_of c1) $(status_of c2)" "running running running"

# Ports that somebody else has: said, and nothing is left. Whoever answers there is not taken for our engine.
! "$VALENCE" cluster start --dir "$TEST_DIR/other" --base-port "$PORT_BASE" --timeout 20 2>"$TEST_DIR/err" ||
	fail "started on ports in use"
grep -q "in use" "$TEST_DIR/err" || fail "no reason: $(cat "$TEST_DIR/err")"
[ -z "$(ls "$TEST_DIR/other"/*.pid 2>/dev/null)" ] || fail "processes are left of a start that failed"

# An engine that will not start: the reason is its own, and the others are ended.
! "$VALENCE" cluster start --dir "$TEST_DIR/other" --base-port $((PORT_BASE + 20)) -- --log loud 2>"$TEST_DIR/err" ||
	fail "started with wrong flags"
grep -q -e "--log loud" "$TEST_DIR/err" || fail "no reason: $(cat "$TEST_DIR/err")"
[ -z "$(ls "$TEST_DIR/other"/*.pid 2>/dev/null)" ] || fail "processes are left of a start that failed"

do_cluster pause c1
same "c1" "$(status_of c1)" paused
do_cluster resume c1
eventually 20 answers 1 "select count(*) from t" 2
do_cluster kill c2
same "c2" "$(status_of c2)" stopped
do_cluster start c2
same "c2" "$(status_of c2)" running
same "rows at c2" "$(sql 2 "select count(*) from t")" 2
! do_cluster kill nobody 2>/dev/null || fail "killed nobody"

# SIGHUP reads the log levels again and disturbs nobody.
kill -HUP "$(cat "$cluster/c1.pid")"
eventually 5 grep -q reloaded "$cluster/c1.log"
same "c1 after SIGHUP" "$(sql 1 "select b from t where a = 2")" two

# A client that is connected when its engine stops is told.
(sleep 20 | PGCONNECT_TIMEOUT=5 psql -X -h 127.0.0.1 -p "$(port 1)" -U valence -d valence >/dev/null 2>&1) &
do_cluster stop
same "all stopped" "$(status_of a1) $(status_of c1) $(status_of c2)" "stopped stopped stopped"
for name in a1 c1 c2; do
	tail -n 3 "$cluster/$name.log" | grep -q "left the cluster" || fail "$name did not leave"
done

# Without a word about its make it starts as it was, with its data.
"$VALENCE" cluster start --dir "$cluster"
same "rows after a restart" "$(sql 0 "select string_agg(b, ',' order by a) from t")" "one,two"
eventually 10 answers 2 "select b from t where a = 1" one
do_cluster stop
