# node-a and node-b: a containerd and a kubelet each, on this machine's kernel.
#
# As on machines of their own, each node has its own /run, /var/lib and /var/log:
# folders of the rig, mounted there in the node's mount namespace. A manifest
# with a hostPath works unchanged; from outside, the same files are at
# RIG_DIR/NODE/{run,lib,log}. When the node's processes end, its mounts go too.

start_node_runtime() {
	local node=$1 folder=$RIG_DIR/$1
	mkdir -p "$folder"/{run,lib,log,cni} "$RIG_DIR/bin"
	make_cgroup_root "${NODE_CGROUP_ROOT[$node]}"
	render cni.conflist SUBNET="${NODE_PODS[$node]}" >"$folder/cni/10-rig.conflist"
	render containerd.toml CNI_CONF="$folder/cni" >"$folder/containerd.toml"
	start_node_mounts "$node"
	spawn_in_node "$node" containerd containerd --config "$folder/containerd.toml"
}

# A process that holds the node's mount namespace. Mounts of this machine reach
# it, its own reach nobody outside, and within it they propagate to pods.
start_node_mounts() {
	local node=$1 folder=$RIG_DIR/$1
	# busybox, because the usual mount makes /run/mount and leaves it there.
	# shellcheck disable=SC2016 # the script's own arguments
	local script='
		busybox mount --make-rshared /
		busybox mount --bind "$2" "$3"
		for place in run lib log; do
			case $place in run) at=/run ;; *) at=/var/$place ;; esac
			busybox mount --bind "$1/$place" "$at"
		done
		: >"$1/mounted"
		exec sleep infinity'
	# The programs again at a place that the node's own folders cannot hide.
	spawn_in_netns "$node-mounts" unshare --mount --propagation slave \
		sh -euc "$script" mounts "$folder" "$KUBE_BIN" "$RIG_DIR/bin"
	await "$node-mounts" 5 "the mounts of $node" test -e "$folder/mounted"
}

# in_node NODE COMMAND…: in the node's mount and network namespaces.
in_node() {
	local node=$1 holder
	shift
	holder=$(pid_of "$node-mounts") || die "$node does not run; see 'tests/rig status'"
	nsenter --net="/run/netns/$NETNS" --mount="/proc/$holder/ns/mnt" "$@"
}

# spawn_in_node NODE PROGRAM COMMAND…
spawn_in_node() {
	local node=$1 component=$1-$2 holder
	shift 2
	holder=$(pid_of "$node-mounts")
	spawn "$component" nsenter --net="/run/netns/$NETNS" --mount="/proc/$holder/ns/mnt" "$@"
}

host_node_socket() { printf '%s/%s/run/containerd/containerd.sock\n' "$RIG_DIR" "$1"; }

host_node_ctr() {
	local node=$1
	shift
	ctr --address "$(host_node_socket "$node")" --namespace k8s.io "$@"
}

await_node_runtime() {
	await "$1-containerd" 20 "containerd of $1 to answer" quietly host_node_ctr "$1" version
}

quietly() { "$@" &>/dev/null; }

start_kubelet() {
	local node=$1 folder=$RIG_DIR/$1
	printf 'nameserver %s\n' "$API_ADDRESS" >"$folder/resolv.conf"
	render kubelet.yaml NODE="$node" ADDRESS="${NODE_ADDRESS[$node]}" PKI="$RIG_DIR/pki" \
		CGROUP_ROOT="${NODE_CGROUP_ROOT[$node]}" DNS="$API_ADDRESS" \
		RESOLV_CONF="$folder/resolv.conf" >"$folder/kubelet.yaml"
	spawn_in_node "$node" kubelet "$RIG_DIR/bin/kubelet" --config "$folder/kubelet.yaml" \
		--kubeconfig "$RIG_DIR/pki/$node.kubeconfig" --root-dir /var/lib/kubelet \
		--hostname-override "$node" --node-ip "${NODE_ADDRESS[$node]}" \
		--node-labels "jobmeter.io/rig-cgroup=$(host_cgroup_version)"
}

node_is_ready() {
	local ready
	ready=$(kubectl get node "$1" -o \
		'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null)
	[[ $ready == True ]]
}

await_host_node() {
	await "$1-kubelet" 60 "node $1 to be Ready" node_is_ready "$1"
}
