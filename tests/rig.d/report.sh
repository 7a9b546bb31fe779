# What runs, and how tests find it.

has_state() { [[ -e $RIG_DIR/.jobmeter-rig ]]; }
has_vm() { [[ -e $RIG_DIR/pids/$VM_NODE ]]; }

# Finished coming up, and every process still there.
is_up() {
	[[ -e $RIG_DIR/ready && -z $(ended_component) ]]
}

running_nodes() {
	printf '%s\n' "${HOST_NODES[@]}"
	! has_vm || printf '%s\n' "$VM_NODE"
}

print_status() {
	local component state pid tar
	if ! has_state; then
		say "$RIG_NAME is down"
		is_built || say "its programs are not built yet: run 'tests/rig build'"
		return
	fi
	if is_up; then
		say "$RIG_NAME is up, in $RIG_DIR"
	else
		say "$RIG_NAME is incomplete, in $RIG_DIR: 'tests/rig down' cleans it"
	fi
	for component in $(components); do
		if pid=$(pid_of "$component"); then
			state="pid $pid, $(awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$pid/status") MiB"
		else
			state="ended; see $RIG_DIR/logs/$component.log"
		fi
		printf '  %-24s %s\n' "$component" "$state"
	done
	! api_is_ready || kubectl get nodes -o wide
	while read -r tar; do
		printf '  stored image %s\n' "$(basename "$tar" .tar)"
	done < <(stored_images)
}

print_use() {
	cat <<-TEXT
		export KUBECONFIG=$ADMIN_KUBECONFIG
		alias kubectl=$KUBE_BIN/kubectl
		# or all of it, for tests: eval "\$(tests/rig env)"
	TEXT
}

# export_variable NAME VALUE
export_variable() { printf 'export %s=%q\n' "$1" "$2"; }

print_env() {
	has_state || die "$RIG_NAME is down; run 'tests/rig up' first"
	export_variable KUBECONFIG "$ADMIN_KUBECONFIG"
	export_variable JOBMETER_RIG_DIR "$RIG_DIR"
	export_variable JOBMETER_RIG_NAME "$RIG_NAME"
	export_variable JOBMETER_RIG_API "$API_URL"
	export_variable JOBMETER_RIG_CA "$RIG_DIR/pki/ca.crt"
	export_variable JOBMETER_RIG_TOKEN "$ADMIN_TOKEN"
	export_variable JOBMETER_RIG_HOST_ADDRESS "$HOST_ADDRESS"
	export_variable JOBMETER_RIG_DNS "$API_ADDRESS"
	export_variable JOBMETER_RIG_IN_NETNS "nsenter --net=/run/netns/$NETNS"
	export_variable JOBMETER_RIG_KUBECTL "$KUBE_BIN/kubectl"
	export_variable JOBMETER_RIG_ETCD "$KUBE_BIN/etcd"
	export_variable JOBMETER_RIG_KUBE_APISERVER "$KUBE_BIN/kube-apiserver"
	export_variable JOBMETER_RIG_NODES "$(running_nodes | xargs)"
	print_programs
	local node
	for node in $(running_nodes); do
		print_node_env "$node"
	done
}

# Servers that tests start themselves; only those that are there.
print_programs() {
	local program
	[[ ! -x $VERSITYGW_BIN/versitygw ]] || export_variable JOBMETER_VERSITYGW "$VERSITYGW_BIN/versitygw"
	! program=$(type -P prometheus-pushgateway) || export_variable JOBMETER_PUSHGATEWAY "$program"
	! program=$(type -P prometheus) || export_variable JOBMETER_PROMETHEUS "$program"
	! program=$(postgres_bin) || export_variable JOBMETER_POSTGRES_BIN "$program"
	if [[ -x $KWOK_BIN/kwok ]]; then
		export_variable JOBMETER_KWOK "$KWOK_BIN/kwok"
		export_variable JOBMETER_KWOK_STAGES "$KWOK_BIN/stages.yaml"
	fi
}

# The folder of initdb and postgres. Debian keeps each version in one of its own, off the path.
postgres_bin() {
	local program
	program=$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -n 1 || true)
	program=${program:-$(type -P initdb || true)}
	[[ $program && -x $(dirname "$program")/postgres ]] || return 1
	dirname "$program"
}

# Each variable's name ends in the node's: _A, _B, _V2.
print_node_env() {
	local node=$1 suffix=${1#node-}
	suffix=${suffix^^}
	export_variable "JOBMETER_RIG_ADDRESS_$suffix" "${NODE_ADDRESS[$node]}"
	export_variable "JOBMETER_RIG_PODS_$suffix" "${NODE_PODS[$node]}"
	export_variable "JOBMETER_RIG_CGROUP_ROOT_$suffix" "${NODE_CGROUP_ROOT[$node]}"
	export_variable "JOBMETER_RIG_KUBEPODS_$suffix" "$(kubepods_of "$node")"
	export_variable "JOBMETER_RIG_ON_$suffix" "$RIG_COMMAND on $node"
	if [[ $node == "$VM_NODE" ]]; then
		export_variable "JOBMETER_RIG_CGROUP_$suffix" v2
		export_variable "JOBMETER_RIG_CONSOLE_$suffix" "$RIG_DIR/logs/$node.log"
		export_variable "JOBMETER_RIG_CTR_$suffix" "$RIG_COMMAND on $node ctr -n k8s.io"
		return
	fi
	export_variable "JOBMETER_RIG_CGROUP_$suffix" "$(host_cgroup_version)"
	export_variable "JOBMETER_RIG_CGROUP_MOUNT_$suffix" /sys/fs/cgroup
	export_variable "JOBMETER_RIG_RUN_$suffix" "$RIG_DIR/$node/run"
	export_variable "JOBMETER_RIG_LIB_$suffix" "$RIG_DIR/$node/lib"
	export_variable "JOBMETER_RIG_LOG_$suffix" "$RIG_DIR/$node/log"
	export_variable "JOBMETER_RIG_CTR_$suffix" \
		"$(type -P ctr) -a $(host_node_socket "$node") -n k8s.io"
}
