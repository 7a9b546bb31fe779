# up and down: the order in which the pieces start, and how all of it ends.

rig_up() {
	local with_vm=$1 started=$SECONDS
	if is_up && { [[ ! $with_vm ]] || has_vm; }; then
		say "$RIG_NAME is up already"
		print_use
		return
	fi
	if is_up; then
		rm "$RIG_DIR/ready"
		start_vm
	else
		if has_state; then
			say "an earlier 'up' did not finish, or something ended since: cleaning up first"
			rig_down
		fi
		start_rig "$with_vm"
	fi
	if [[ $with_vm ]]; then
		await_vm_node
	fi
	: >"$RIG_DIR/ready"
	say "$RIG_NAME is up after $((SECONDS - started)) s; nodes Ready: $(running_nodes | xargs)"
	print_use
}

start_rig() {
	local with_vm=$1 node
	build_all
	refuse_foreign_cgroups
	make_state_folder
	network_up
	pki_up
	start_api_server
	# While the API server gets ready, which takes it seconds:
	for node in "${HOST_NODES[@]}"; do
		start_node_runtime "$node"
	done
	for node in "${HOST_NODES[@]}"; do
		await_node_runtime "$node"
		import_stored_images "$node"
	done
	await_api_server
	start_controllers
	for node in "${HOST_NODES[@]}"; do
		start_kubelet "$node"
	done
	if [[ $with_vm ]]; then
		start_vm
	fi
	await_controllers
	for node in "${HOST_NODES[@]}"; do
		await_host_node "$node"
	done
}

make_state_folder() {
	# Fails if it exists: nobody else may have laid it out.
	mkdir -m 711 "$RIG_DIR" ||
		die "$RIG_DIR is in the way, and is not a rig's; remove it or set JOBMETER_RIG_DIR"
	: >"$RIG_DIR/.jobmeter-rig"
	printf '%s\n' "$RIG_NAME" >"$RIG_DIR/name"
	printf '%s\n' "$RIG_NET" >"$RIG_DIR/net"
	mkdir "$RIG_DIR/pids" "$RIG_DIR/logs"
}

# Programs, rights and files without which `up` cannot work: all at once.
require_machine() {
	local with_vm=$1 program
	local -a missing=() programs=(
		containerd containerd-shim-runc-v2 ctr runc ip iptables nsenter unshare setsid
		busybox openssl
	)
	[[ ! $with_vm ]] || programs+=(qemu-system-x86_64 mke2fs cpio ldd)
	((EUID == 0)) || missing+=("root")
	for program in "${programs[@]}"; do
		type -P "$program" >/dev/null || missing+=("$program")
	done
	[[ -x /usr/lib/cni/ptp ]] || missing+=("/usr/lib/cni/ptp")
	[[ -n $(cgroup_mounts) ]] || missing+=("a mounted cgroup hierarchy")
	if [[ $with_vm ]]; then
		[[ -c /dev/net/tun ]] || missing+=("/dev/net/tun")
		cached_kernel >/dev/null || missing+=("the VM node's kernel")
	fi
	((${#missing[@]} == 0)) || die_missing "${missing[*]}; run tests/setup as root"
}

# --- down ------------------------------------------------------------------------
# Nothing of the rig is worth keeping, so nothing is asked to end politely. First
# what could start something new, then everything in its namespace and its pods.

rig_down() {
	if ! has_state && ! has_netns; then
		network_down
		say "$RIG_NAME is down"
		return
	fi
	rm -f "$RIG_DIR/ready"
	local component
	local -a kubelets=() others=()
	for component in $(components); do
		case $component in
		*-kubelet) kubelets+=("$component") ;;
		*) others+=("$component") ;;
		esac
	done
	for component in "${kubelets[@]}" "${others[@]}"; do
		kill_component "$component"
	done
	poll 20 no_process_left || die "these processes of the rig do not end:" \
		"$(netns_pids | xargs) $(pod_pids | xargs)"
	poll 20 remove_rig_cgroups || die "these cgroups cannot be removed: $(rig_cgroups | xargs)"
	network_down
	remove_state_folder
	say "$RIG_NAME is down"
}

kill_component() {
	local pid
	if pid=$(pid_of "$1"); then
		kill -KILL "$pid" 2>/dev/null || true
		poll 10 is_dead "$1" || die "$1 (pid $pid) does not end"
	fi
	rm -f "$RIG_DIR/pids/$1"
}

# Containers and their shims outlive containerd: the shims are in the rig's
# network namespace, the containers in its cgroups.
no_process_left() {
	local -a pids
	mapfile -t pids < <(
		netns_pids || true
		pod_pids
	)
	((${#pids[@]})) || return 0
	kill -KILL "${pids[@]}" 2>/dev/null || true
	return 1
}

remove_state_folder() {
	if grep -q " $RIG_DIR/" /proc/mounts; then
		die "something is mounted under $RIG_DIR; unmount it, then 'tests/rig down' again"
	fi
	! has_state || rm -rf --one-file-system "$RIG_DIR"
}
