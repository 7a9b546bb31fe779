# Messages, bounded waiting, and processes recorded by pid and start time.
# Sourced by tests/rig and tests/setup; needs nothing from the other pieces.

readonly EXIT_FAILED=1 EXIT_PREREQUISITE=3 EXIT_USAGE=64

say() { printf 'rig: %s\n' "$*"; }
warn() { printf 'rig: warning: %s\n' "$*" >&2; }

die() {
	printf 'rig: error: %s\n' "$*" >&2
	exit "$EXIT_FAILED"
}

# The machine lacks something: distinguishable, so that callers can skip.
die_missing() {
	printf 'rig: missing: %s\n' "$*" >&2
	exit "$EXIT_PREREQUISITE"
}

die_usage() {
	printf 'rig: usage: %s (see --help)\n' "$*" >&2
	exit "$EXIT_USAGE"
}

# No failure without a word: for what ends the script under errexit.
report_unforeseen() {
	# 141: the reader of our output has gone, as with `| head`.
	[[ $1 != 141 ]] || return 0
	printf 'rig: error: %s:%s: a command failed (exit code %s): %s\n' \
		"$(basename "${BASH_SOURCE[1]}")" "${BASH_LINENO[0]}" "$1" "$BASH_COMMAND" >&2
}
set -E
trap 'report_unforeseen $?' ERR

# make_work_folder PARENT: sets WORK_FOLDER to a new folder in it, gone when the
# script ends, unless it was renamed by then.
work_folders=()
make_work_folder() {
	mkdir -p "$1" || die "cannot make $1; set JOBMETER_RIG_CACHE"
	WORK_FOLDER=$(mktemp -d "$1/.making-XXXXXX")
	work_folders+=("$WORK_FOLDER")
	chmod 755 "$WORK_FOLDER"
}
trap 'rm -rf "${work_folders[@]}"' EXIT

# die_with_log COMPONENT MESSAGE: the message last, after what explains it.
die_with_log() {
	local component=$1 message=$2
	printf -- '--- last lines of %s.log ---\n' "$component" >&2
	tail -n 30 "$RIG_DIR/logs/$component.log" >&2 || true
	printf -- '--- end ---\n' >&2
	die "$message"
}

# poll SECONDS COMMAND…: until the command succeeds; fails at the deadline.
poll() {
	local deadline=$((SECONDS + $1))
	shift
	until "$@"; do
		((SECONDS < deadline)) || return 1
		sleep 0.1
	done
}

# await COMPONENT SECONDS WHAT COMMAND…: poll for what the component brings about.
# Gives up at once when any component has ended, and shows the log to blame.
await() {
	local component=$1 deadline=$((SECONDS + $2)) seconds=$2 what=$3 ended
	shift 3
	until "$@"; do
		ended=$(ended_component)
		[[ -z $ended ]] ||
			die_with_log "$ended" "$ended ended while waiting for $what; 'tests/rig down' cleans up"
		((SECONDS < deadline)) ||
			die_with_log "$component" "gave up after $seconds s waiting for $what; 'tests/rig down' cleans up"
		sleep 0.1
	done
}

# render TEMPLATE KEY=VALUE…: prints the template with each @KEY@ replaced.
render() {
	local text key
	text=$(<"$RIG_SOURCE/templates/$1")
	shift
	for key in "$@"; do
		text=${text//"@${key%%=*}@"/"${key#*=}"}
	done
	if [[ $text =~ @[A-Z_]+@ ]]; then
		die "template placeholder ${BASH_REMATCH[0]} was given no value"
	fi
	printf '%s\n' "$text"
}

# --- processes ---------------------------------------------------------------

# Field 22 of /proc/PID/stat; the name in field 2 may hold spaces and brackets.
start_time() {
	local stat fields
	{ stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
	read -ra fields <<<"${stat##*) }"
	[[ ${fields[0]} != Z ]] || return 1
	printf '%s\n' "${fields[19]}"
}

# spawn COMPONENT COMMAND…: in the background, in a session of its own.
spawn() {
	local component=$1 pid
	shift
	setsid "$@" </dev/null >>"$RIG_DIR/logs/$component.log" 2>&1 9>&- &
	pid=$!
	printf '%s %s\n' "$pid" "$(start_time "$pid")" >"$RIG_DIR/pids/$component"
	disown "$pid"
}

# The recorded pid, if it is still the same process.
pid_of() {
	local pid started
	{ read -r pid started <"$RIG_DIR/pids/$1"; } 2>/dev/null || return 1
	[[ -n $started && $(start_time "$pid") == "$started" ]] || return 1
	printf '%s\n' "$pid"
}

# Every component that was started, running or not.
components() {
	local file
	for file in "$RIG_DIR"/pids/*; do
		[[ ! -e $file ]] || basename "$file"
	done
}

# The first component that should run and does not.
ended_component() {
	local component
	for component in $(components); do
		if is_dead "$component"; then
			printf '%s\n' "$component"
			return
		fi
	done
}

is_alive() { pid_of "$1" >/dev/null; }
is_dead() { ! is_alive "$1"; }
