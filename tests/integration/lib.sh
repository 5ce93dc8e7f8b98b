# lib.sh - sourced by the integration tests in sh: clusters of this build in a directory of the test's own.
#
# tests/integration/run gives  VALENCE  the program     TEST_DIR  an empty directory
#                              PORT_BASE  the first of 250 ports that are this test's alone
#                              VALENCE_FABRIC  what the engines talk over; unset: the program's default
# Run by hand, a test makes do: build/valence, a temporary directory, ports from 21000.
#
#   cluster_start [flags]   D = $TEST_DIR/cluster; SQL on $PORT_BASE + k. Stopped when the test ends, however it ends
#   sql K STATEMENT         what engine k answers, unadorned; fails as psql does
#   port K                  the SQL port of engine k
#   fail TEXT, same WHAT GOT WANT, eventually SECONDS COMMAND...
# shellcheck shell=sh
set -eu

lib_dir=$(cd "$(dirname "$0")" && pwd)
VALENCE=${VALENCE:-$(cd "$lib_dir/../.." && pwd)/build/valence}
PORT_BASE=${PORT_BASE:-21000}
if [ -z "${TEST_DIR-}" ]; then
	TEST_DIR=$(mktemp -d)
	lib_own_dir=yes
fi
cluster=$TEST_DIR/cluster

# Only what this test started: by the pid files of its own directory, which `valence cluster` checks against /proc.
lib_cleanup()
{
	lib_rc=$?
	trap - EXIT INT TERM
	if [ -d "$cluster" ]; then
		for lib_pid_file in "$cluster"/*.pid; do
			[ -f "$lib_pid_file" ] || continue
			lib_name=$(basename "$lib_pid_file" .pid)
			"$VALENCE" cluster kill "$lib_name" --dir "$cluster" >/dev/null 2>&1 || :
		done
	fi
	if [ -n "${lib_own_dir-}" ]; then
		[ $lib_rc -ne 0 ] || rm -rf "$TEST_DIR"
		[ $lib_rc -eq 0 ] || echo "what the engines said is in $cluster/*.log" >&2
	fi
	exit $lib_rc
}
trap lib_cleanup EXIT
trap 'exit 143' INT TERM

fail()
{
	echo "FAILED: $*" >&2
	exit 1
}

same()
{
	[ "$2" = "$3" ] || fail "$1: got \"$2\", want \"$3\""
}

port()
{
	echo $((PORT_BASE + $1))
}

cluster_start()
{
	"$VALENCE" cluster start --dir "$cluster" --base-port "$PORT_BASE" --timeout $((60 * ${VALENCE_SLOW:-1})) \
		${VALENCE_FABRIC:+--fabric "$VALENCE_FABRIC"} ${VALENCE_HOSTS:+--hosts "$VALENCE_HOSTS"} "$@" ||
		fail "the cluster did not start"
}

sql()
{
	PGCONNECT_TIMEOUT=$((5 * ${VALENCE_SLOW:-1})) psql -X -q -A -t -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$(port "$1")" -U valence \
		-d valence -c "$2"
}

# eventually SECONDS COMMAND...: the command, again and again, until it succeeds
eventually()
{
	lib_until=$(($(date +%s) + $1 * ${VALENCE_SLOW:-1}))
	shift
	until "$@"; do
		[ "$(date +%s)" -lt "$lib_until" ] || fail "not in time: $*"
		sleep 0.1
	done
}
